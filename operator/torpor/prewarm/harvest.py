"""From what an engine has compiled to an entry of the node's cache: staged, then published by one rename.

The first replica that is ready publishes; for everybody after it the entry is there. The engine goes on compiling while
it is copied, so a stage counts only if nothing changed meanwhile.
"""

import contextlib
import json
import os
import shutil
import stat
from collections.abc import Callable
from threading import Event
from typing import Any, NamedTuple

from torpor import clock
from torpor.prewarm.compiled import (
    MOST_BYTES,
    Entry,
    FileFacts,
    compile_folder,
    copy_file,
    drop_entry,
    find_entry,
    list_entries,
    name_key,
)
from torpor.prewarm.disk import sync_folder, sync_folders, write_durably
from torpor.prewarm.inventory import measure
from torpor.prewarm.layout import Layout
from torpor.prewarm.locks import try_lock

MOST_FILES = 50_000
TRIES = 5
PAUSE_SECONDS = 2.0
ENTRIES_PER_MODEL = 6
"""Images and arguments change over time; of what was compiled for one model, the least recently used is let go."""
SPARE_BYTES = 1024**3
"""Disk that an entry leaves free: what was compiled is never worth a full disk."""

_PASSING_ENDS = (".lock", ".tmp", ".pid", "_lock")
_PASSING_STARTS = ("tmp.", ".nfs", ".tmp")
_OF_THIS_HARDWARE = "gpu_p2p_access_cache_for_"
"""What vLLM found out about the wires between the very GPUs that it was given; another pod is given others."""


_COUNTED = ("models", "partial", "compile")
_WAIT = Event().wait


class Harvest(NamedTuple):
    """What became of it. `entry` is what the node has now, None if nothing."""

    entry: Entry | None
    published: bool
    message: str


def harvest(
    layout: Layout,
    parts: dict[str, Any],
    folder: str,
    *,
    weights: str,
    pod: str,
    budget_bytes: int = 0,
    pause: Callable[[float], object] = _WAIT,
) -> Harvest:
    """Publish what lies in the engine's folder, unless the node has it.

    Args:
        layout: The node's cache.
        parts: What the entry's key is made of.
        folder: Where the engine compiles to.
        weights: Hash of the model it serves.
        pod: The pod's name.
        budget_bytes: Most bytes that the cache may hold; 0: as much as the disk has.
        pause: Waits for that many seconds.

    Raises:
        OSError: The cache cannot be written, or a file of the engine cannot be read.
    """
    key = name_key(parts)
    known = find_entry(layout, key)
    if known is not None:
        return Harvest(known, False, f"the node has it, compiled by {known.pod}")
    held = try_lock(layout.lock(key))
    if held is None:
        return Harvest(None, False, "another pod on this node publishes it now")
    try:
        known = find_entry(layout, key)
        if known is not None:
            return Harvest(known, False, f"the node has it, compiled by {known.pod}")
        for attempt in range(TRIES):
            if attempt:
                pause(PAUSE_SECONDS)
            files = survey(folder)
            refusal = _refuse(layout, files, budget_bytes)
            if refusal:
                return Harvest(None, False, refusal)
            if _stage(layout, key, folder, files):
                entry = Entry(
                    key, weights, pod, clock.now().isoformat(timespec="seconds"), parts, files
                )
                publish_stage(layout, entry)
                return Harvest(entry, True, f"published {len(files)} files")
        return Harvest(None, False, f"the engine was still compiling after {TRIES} tries")
    finally:
        shutil.rmtree(layout.partial(key), ignore_errors=True)
        os.close(held)


def survey(folder: str) -> dict[str, FileFacts]:
    """Return the files worth keeping: regular ones that are not locks or half-written."""
    found: dict[str, FileFacts] = {}
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != "tmp" and not _passes(name)]
        for name in names:
            if _passes(name) or name.startswith(_OF_THIS_HARDWARE):
                continue
            path = os.path.join(parent, name)
            with contextlib.suppress(FileNotFoundError):
                facts = os.lstat(path)
                if stat.S_ISREG(facts.st_mode):
                    executable = bool(facts.st_mode & 0o100)
                    relative = os.path.relpath(path, folder)
                    found[relative] = (facts.st_size, facts.st_mtime_ns, executable)
    return dict(sorted(found.items()))


def publish_stage(layout: Layout, entry: Entry) -> None:
    """Publish `partial/<key>`, which holds the files; the caller holds the lock of the key.

    After a power cut the entry is there whole or not at all. A damaged one that stands in the way is dropped.
    """
    stage, place = layout.partial(entry.key), compile_folder(layout, entry.key)
    for path in entry.files:
        fd = os.open(os.path.join(stage, "files", path), os.O_RDONLY | os.O_NOFOLLOW)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    write_durably(os.path.join(stage, "hash"), f"{entry.weights}\n".encode())
    write_durably(os.path.join(stage, "manifest.json"), json.dumps(entry._asdict()).encode())
    sync_folders(stage)
    drop_entry(layout, entry.key)
    os.makedirs(os.path.dirname(place), exist_ok=True)
    os.rename(stage, place)
    sync_folder(os.path.dirname(place))
    alike = [old for old, _ in list_entries(layout) if old.weights == entry.weights]
    for old in [old for old in alike if old.key != entry.key][: -(ENTRIES_PER_MODEL - 1)]:
        drop_entry(layout, old.key)


def room_for(layout: Layout, size: int, budget_bytes: int) -> str:
    """Say why an entry of so many bytes has no room, in a sentence; empty if it has."""
    if size > MOST_BYTES:
        return f"the engine compiled {size} bytes, at most {MOST_BYTES} are kept"
    disk = os.statvfs(layout.root)
    free = disk.f_bavail * disk.f_frsize
    if disk.f_blocks and free < size + SPARE_BYTES:
        return f"{size} bytes were compiled and the disk has {free} free: not kept"
    if budget_bytes:
        used = sum(measure(os.path.join(layout.root, kind))[0] for kind in _COUNTED)
        if used + size > budget_bytes:
            return (
                f"{size} bytes were compiled and the cache holds {used} of {budget_bytes}: not kept"
            )
    return ""


def _refuse(layout: Layout, files: dict[str, FileFacts], budget_bytes: int) -> str:
    if not files:
        return "the engine compiled nothing"
    if len(files) > MOST_FILES:
        return f"the engine compiled {len(files)} files, at most {MOST_FILES} are kept"
    return room_for(layout, sum(size for size, _, _ in files.values()), budget_bytes)


def _stage(layout: Layout, key: str, folder: str, files: dict[str, FileFacts]) -> bool:
    """Copy the files to `partial/<key>`; False if the engine wrote to its folder meanwhile."""
    stage = layout.partial(key)
    shutil.rmtree(stage, ignore_errors=True)
    os.makedirs(os.path.join(stage, "files"))
    try:
        for path, facts in files.items():
            copy_file(os.path.join(folder, path), os.path.join(stage, "files", path), facts)
    except PermissionError:
        raise
    except OSError:
        if survey(folder) == files:
            raise
    return survey(folder) == files


def _passes(name: str) -> bool:
    """Locks and files under way, by the names that Triton, Inductor, ninja and NFS give them."""
    return name.endswith(_PASSING_ENDS) or name.startswith(_PASSING_STARTS) or ".tmp." in name
