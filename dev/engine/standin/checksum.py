"""The checksum of a checkpoint, which the stand-in shows as `system_fingerprint`.

One rule for a folder and for the objects of a bucket: sha256 over every file in the order of its
relative path, each as `<path>` NUL `<size in decimal>` NUL `<bytes>`. Whatever lies below a folder
whose name begins with a dot is left out (torpor's own marker lies in `.torpor/`).
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

BLOCK = 4 * 1024 * 1024
"""Bytes read at a time."""


def counts(path: str) -> bool:
    """Say whether the file with this relative path belongs to the checkpoint."""
    return not any(part.startswith(".") for part in path.split("/")[:-1])


def checksum_files(files: Iterable[tuple[str, int, Iterable[bytes]]]) -> str:
    """The fingerprint of (relative path, size, pieces of the content), given in order of path.

    Raises:
        ValueError: the order is wrong, or a file's pieces are not `size` bytes.
    """
    digest = hashlib.sha256()
    last = ""
    for path, size, pieces in files:
        if path <= last:
            raise ValueError(f"{path!r} comes after {last!r}: give the files in order of path")
        last = path
        digest.update(f"{path}\0{size}\0".encode())
        seen = 0
        for piece in pieces:
            digest.update(piece)
            seen += len(piece)
        if seen != size:
            raise ValueError(f"{path!r} has {seen} bytes, not {size}")
    return f"fp_{digest.hexdigest()[:16]}"


def checksum_objects(objects: Mapping[str, bytes]) -> str:
    """The fingerprint of a bucket's objects, by key relative to the checkpoint's prefix."""
    kept = {key: body for key, body in objects.items() if counts(key)}
    return checksum_files((key, len(kept[key]), [kept[key]]) for key in sorted(kept))


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        while piece := file.read(BLOCK):
            yield piece


def combine(fingerprints: Sequence[str]) -> str:
    """One fingerprint for a model with its draft and adapters, in that order; a model alone keeps its own."""
    if len(fingerprints) == 1:
        return fingerprints[0]
    return f"fp_{hashlib.sha256(' '.join(fingerprints).encode()).hexdigest()[:16]}"


def list_folder(folder: Path) -> dict[str, Path]:
    """The checkpoint's files by relative path."""
    found = {
        path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()
    }
    return {name: found[name] for name in sorted(found) if counts(name)}


def checksum_folder(folder: Path) -> str:
    """The fingerprint of a checkpoint's folder; reads every byte of it."""
    return checksum_files(
        (name, path.stat().st_size, _read(path)) for name, path in list_folder(folder).items()
    )
