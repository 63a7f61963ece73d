"""An entry of compiled code as one tar: how it travels to the bucket beside the weights, and from there to other nodes.

The manifest comes first, so that whoever unpacks knows every file and its size before the first byte of it. What the
tar holds beside them, or links to, or calls by another path, makes it no bundle.
"""

import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from typing import IO

from torpor.domain.fetching import OWN_FOLDER
from torpor.prewarm.compiled import MOST_BYTES, Entry, compile_folder, parse_entry
from torpor.prewarm.harvest import MOST_FILES, publish_stage, room_for
from torpor.prewarm.layout import Layout

CHUNK_BYTES = 1024 * 1024
MOST_MANIFEST_BYTES = 16 * 1024 * 1024
MOST_BUNDLE_BYTES = MOST_BYTES + MOST_MANIFEST_BYTES + MOST_FILES * 2 * tarfile.BLOCKSIZE
_MANIFEST = "manifest.json"


class NoBundle(ValueError):
    """The tar is not an entry; `str()` says why."""


def bundle_name(key: str) -> str:
    """Key of the bundle relative to the model's prefix: in torpor's own folder, which no listing of weights has."""
    return f"{OWN_FOLDER}compile/{key}.tar"


def pack(layout: Layout, entry: Entry) -> Iterator[bytes]:
    """Yield the tar of a published entry, at most `CHUNK_BYTES` at a time.

    Raises:
        OSError: A file cannot be read or is not what the manifest says.
    """
    manifest = json.dumps(entry._asdict()).encode()
    yield from _framed(_MANIFEST, len(manifest), iter([manifest]))
    folder = os.path.join(compile_folder(layout, entry.key), "files")
    for path, (size, _, _) in entry.files.items():
        yield from _framed(f"files/{path}", size, _read(os.path.join(folder, path), size))
    yield bytes(2 * tarfile.BLOCKSIZE)


def unpack(layout: Layout, key: str, stream: IO[bytes], budget_bytes: int) -> Entry:
    """Publish the entry that a tar holds; the caller holds the lock of the key.

    Raises:
        NoBundle: It is not the tar of this entry, or not whole, or there is no room for it.
        OSError: The cache cannot be written, or the stream cannot be read.
    """
    stage = layout.partial(key)
    shutil.rmtree(stage, ignore_errors=True)
    os.makedirs(os.path.join(stage, "files"))
    try:
        with tarfile.open(fileobj=stream, mode="r|") as tar:
            members = iter(tar)
            entry = _read_manifest(tar, next(members, None), key)
            refusal = room_for(layout, entry.total_bytes, budget_bytes)
            if refusal:
                raise NoBundle(refusal)
            awaited = dict(entry.files)
            for member in members:
                path = member.name.removeprefix("files/")
                facts = awaited.pop(path, None) if path != member.name else None
                if facts is None or not member.isreg() or member.size != facts[0]:
                    raise NoBundle(f"it holds {member.name[:200]!r}, which its manifest does not")
                _write(tar, member, os.path.join(stage, "files", path), facts[1], facts[2])
            if awaited:
                raise NoBundle(f"it lacks {len(awaited)} of {len(entry.files)} files")
        publish_stage(layout, entry)
        return entry
    except tarfile.TarError as error:
        raise NoBundle(f"it is no tar: {error}") from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _framed(name: str, size: int, body: Iterator[bytes]) -> Iterator[bytes]:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    yield info.tobuf(tarfile.PAX_FORMAT)
    yield from body
    if size % tarfile.BLOCKSIZE:
        yield bytes(tarfile.BLOCKSIZE - size % tarfile.BLOCKSIZE)


def _read(path: str, size: int) -> Iterator[bytes]:
    with open(path, "rb") as file:
        left = size
        while left:
            piece = file.read(min(left, CHUNK_BYTES))
            if not piece:
                raise OSError(f"{path} ended {left} bytes early")
            left -= len(piece)
            yield piece


def _read_manifest(tar: tarfile.TarFile, member: tarfile.TarInfo | None, key: str) -> Entry:
    if member is None or member.name != _MANIFEST or not member.isreg():
        raise NoBundle("its first file is not a manifest")
    if member.size > MOST_MANIFEST_BYTES:
        raise NoBundle(f"its manifest has {member.size} bytes, at most {MOST_MANIFEST_BYTES} do")
    file = tar.extractfile(member)
    assert file is not None, "a regular member has content"
    try:
        entry = parse_entry(file.read().decode(), key)
    except ValueError as error:
        raise NoBundle(str(error)) from error
    if len(entry.files) > MOST_FILES:
        raise NoBundle(f"it has {len(entry.files)} files, at most {MOST_FILES} are kept")
    return entry


def _write(
    tar: tarfile.TarFile, member: tarfile.TarInfo, target: str, mtime: int, executable: bool
) -> None:
    os.makedirs(os.path.dirname(target), exist_ok=True)
    body = tar.extractfile(member)
    assert body is not None, "a regular member has content"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with io.FileIO(os.open(target, flags, 0o755 if executable else 0o644), "w") as file:
        shutil.copyfileobj(body, file, CHUNK_BYTES)
        os.utime(file.fileno(), ns=(mtime, mtime))
