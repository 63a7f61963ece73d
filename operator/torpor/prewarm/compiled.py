"""What engines compiled, kept on the node, and the pod's own copy of it. Standard library only.

compile/<key>/manifest.json   what it was compiled for, and every file with its size; the folder appears complete
compile/<key>/hash            the model it was compiled for: an entry is let go with the last endpoint that has it
compile/<key>/files/…         the files, under their paths in the engine's folder
compile/<key>/starts/<pod>    a pod that was given a copy and has not been healthy since

The copy is the pod's to write: kernels compiled later belong to it alone. Copying is always worth it: the largest entry
takes seconds, compiling anew takes a large model a minute. A copy is complete or not there at all, because caches
refer from file to file.
"""

import contextlib
import json
import os
import stat
from collections.abc import Iterator
from typing import Any, NamedTuple

from torpor import clock
from torpor.prewarm.layout import Layout

MOST_BYTES = 4 * 1024**3
"""Largest entry that is kept; Inductor, Triton and FlashInfer together take some hundred MiB for a large model."""
RESTORE_SECONDS = 20.0
"""A disk slower than that is not faster than compiling."""
MOST_FAILED_STARTS = 3
"""Pods in a row that were given an entry and never got healthy: then it may be the cause, and is dropped."""

FileFacts = tuple[int, int, bool]
"""Size in bytes, modification time in ns (ninja compares them), and whether it may be executed."""


class Entry(NamedTuple):
    """One published entry."""

    key: str
    weights: str
    """Hash of the model it was compiled for."""
    pod: str
    """The pod that compiled it."""
    published_at: str
    """RFC 3339, UTC."""
    parts: dict[str, Any]
    """What the key was made of."""
    files: dict[str, FileFacts]

    @property
    def total_bytes(self) -> int:
        """Sum of the files' sizes."""
        return sum(size for size, _, _ in self.files.values())


class Restored(NamedTuple):
    """What a pod was given; no files, and why, if nothing."""

    files: int
    bytes: int
    seconds: float
    message: str


def compile_folder(layout: Layout, key: str) -> str:
    """Folder of a published entry."""
    return os.path.join(layout.root, "compile", key)


def key_parts(compile_key: str, driver_folder: str = "/proc/driver/nvidia") -> dict[str, Any]:
    """What an entry depends on: what the controller knows, and driver and GPUs, which only the node knows."""
    return {
        "engine": compile_key,
        "driver": _first_line(os.path.join(driver_folder, "version")),
        "gpus": sorted(set(_products(os.path.join(driver_folder, "gpus")))),
        "machine": os.uname().machine,
    }


def name_key(parts: dict[str, Any]) -> str:
    """Name of an entry: 32 hex digits."""
    import hashlib

    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def has_entry(layout: Layout, compile_key: str) -> bool:
    """Whether the node has an entry for engines that the controller names so."""
    return find_entry(layout, name_key(key_parts(compile_key))) is not None


def find_entry(layout: Layout, key: str) -> Entry | None:
    """Return a readable entry, None if there is none; whether its files are whole is seen when they are copied."""
    try:
        path = os.path.join(compile_folder(layout, key), "manifest.json")
        with open(path, encoding="utf-8") as file:
            return parse_entry(file.read(), key)
    except (OSError, ValueError):
        return None


def parse_entry(text: str, key: str) -> Entry:
    """Read a manifest.

    Raises:
        ValueError: It is none, of another key, larger than an entry may be, or names a path outside its folder.
    """
    try:
        raw: dict[str, Any] = json.loads(text)
        files = {
            str(path): (int(size), int(mtime), bool(executable))
            for path, (size, mtime, executable) in raw.pop("files").items()
        }
        entry = Entry(files=files, **raw)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"not a manifest of compiled code: {error}") from error
    if entry.key != key or entry.total_bytes > MOST_BYTES:
        raise ValueError(f"not the manifest of {key}")
    if not all(is_inside(path) for path in files) or any(facts[0] < 0 for facts in files.values()):
        raise ValueError(f"the manifest of {key} names a path outside its folder")
    return entry


def is_inside(path: str) -> bool:
    """Whether a relative path stays below the folder it is taken from."""
    pieces = path.split("/")
    return bool(path) and "\0" not in path and not any(piece in ("", ".", "..") for piece in pieces)


def list_entries(layout: Layout) -> list[tuple[Entry, int]]:
    """Return all readable entries and when each was last used, epoch seconds; the least recently used first."""
    found: list[tuple[Entry, int]] = []
    with contextlib.suppress(FileNotFoundError):
        for key in os.listdir(os.path.join(layout.root, "compile")):
            entry = find_entry(layout, key)
            with contextlib.suppress(FileNotFoundError):
                if entry is not None:
                    used = os.stat(os.path.join(compile_folder(layout, key), "manifest.json"))
                    found.append((entry, int(used.st_mtime)))
    return sorted(found, key=lambda pair: pair[1])


def drop_entry(layout: Layout, key: str) -> None:
    """Remove an entry, readable or not; no pod reads it in place, so none is hurt."""
    import shutil

    trash = os.path.join(layout.root, "trash", f"{key}-{os.getpid()}-{clock.now_ms()}")
    os.makedirs(os.path.dirname(trash), exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        os.rename(compile_folder(layout, key), trash)
        shutil.rmtree(trash, ignore_errors=True)


def restore(layout: Layout, compile_key: str, folder: str, pod: str) -> Restored:
    """Fill the pod's own folder from the node's entry. Nothing that goes wrong is an error: the engine compiles.

    Args:
        layout: The node's cache.
        compile_key: What the controller names the compilation.
        folder: The pod's own folder, empty unless the pod was restored before.
        pod: The pod's name.
    """
    key = name_key(key_parts(compile_key))
    begun = clock.monotonic()
    try:
        os.makedirs(folder, exist_ok=True)
        if os.listdir(folder):
            return Restored(0, 0, 0.0, "the pod has its own already")
        entry = find_entry(layout, key)
        if entry is None:
            return Restored(0, 0, 0.0, "nothing compiled for this engine is on the node yet")
        if not _note_start(layout, key, pod):
            drop_entry(layout, key)
            text = f"{MOST_FAILED_STARTS} pods in a row did not get healthy with it: dropped"
            return Restored(0, 0, 0.0, text)
        for path, facts in entry.files.items():
            source = os.path.join(compile_folder(layout, key), "files", path)
            copy_file(source, os.path.join(folder, path), facts, writable=True)
            if clock.monotonic() - begun > RESTORE_SECONDS:
                raise OSError(
                    f"more than {RESTORE_SECONDS:.0f} s to copy {entry.total_bytes} bytes"
                )
        os.utime(os.path.join(compile_folder(layout, key), "manifest.json"))
    except OSError as error:
        _empty(folder)
        return Restored(0, 0, 0.0, f"what the node has was not used: {error}")
    seconds = round(clock.monotonic() - begun, 3)
    text = f"compiled by {entry.pod}, {entry.published_at}"
    return Restored(len(entry.files), entry.total_bytes, seconds, text)


def clear_starts(layout: Layout, key: str) -> None:
    """An engine got healthy: what it was given is good, whatever happened to pods before it."""
    folder = os.path.join(compile_folder(layout, key), "starts")
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(folder):
            os.unlink(os.path.join(folder, name))


def copy_file(source: str, target: str, facts: FileFacts, *, writable: bool = False) -> None:
    """Copy a file within the kernel, sharing blocks where the file system can.

    Args:
        source: A regular file; a link is an error.
        target: Must not exist; its folders are made.
        facts: What the file must be; the copy gets its time.
        writable: By any user: an engine need not run as the user of the init container.

    Raises:
        OSError: It cannot be copied, or is not what the facts say.
    """
    size, mtime, executable = facts
    _make_folders(os.path.dirname(target), 0o777 if writable else 0o755)
    reading = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = os.fstat(reading)
        if not stat.S_ISREG(found.st_mode) or found.st_size != size:
            raise OSError(f"{source} is damaged: {found.st_size} bytes, {size} expected")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        writing = os.open(target, flags, 0o600)
        try:
            _copy_bytes(reading, writing, size, source)
            os.fchmod(writing, (0o666 if writable else 0o644) | (0o111 if executable else 0))
            os.utime(writing, ns=(mtime, mtime))
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def _copy_bytes(reading: int, writing: int, size: int, source: str) -> None:
    copied, in_kernel = 0, True
    while copied < size:
        try:
            count = (
                os.copy_file_range(reading, writing, size - copied)
                if in_kernel
                else os.sendfile(writing, reading, copied, size - copied)
            )
        except OSError:
            if not in_kernel:
                raise
            in_kernel = False  # another file system, or one that cannot
            continue
        if count == 0:
            raise OSError(f"{source} ended at {copied} of {size} bytes")
        copied += count


def _make_folders(folder: str, mode: int) -> None:
    if os.path.isdir(folder):
        return
    _make_folders(os.path.dirname(folder), mode)
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder)
        os.chmod(folder, mode)


def _note_start(layout: Layout, key: str, pod: str) -> bool:
    """Note that the pod was given the entry; False if too many others were and are not known to be healthy."""
    folder = os.path.join(compile_folder(layout, key), "starts")
    os.makedirs(folder, exist_ok=True)
    if len(set(os.listdir(folder)) - {pod}) >= MOST_FAILED_STARTS:
        return False
    with open(os.path.join(folder, pod), "w", encoding="ascii"):
        return True


def _empty(folder: str) -> None:
    import shutil

    with contextlib.suppress(OSError):
        for item in list(os.scandir(folder)):
            if item.is_dir(follow_symlinks=False):
                shutil.rmtree(item.path, ignore_errors=True)
            else:
                os.unlink(item.path)


def _first_line(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.readline().strip()
    except OSError:
        return ""


def _products(folder: str) -> Iterator[str]:
    with contextlib.suppress(OSError):
        for gpu in os.listdir(folder):
            line = _first_line(os.path.join(folder, gpu, "information"))
            yield " ".join(line.split())
