"""Which pieces of a copy under way are in their files, so that a download goes on where it was killed.

partial/<hash>/.torpor/listing.json   which files these are, in which pieces, and since which boot
partial/<hash>/.torpor/journal        one record for each piece that was written; only ever appended to

A record is appended after its piece was handed to the kernel, and then no kill can take it back; what has no record
is fetched again. A record torn by a kill fails its check and ends the journal. Nothing is forced to disk before the
download's end (decision 0015), so another boot's records are not taken on trust: their pieces are read again.
"""

import json
import os
import struct
import zlib
from collections.abc import Sequence
from typing import NamedTuple

from torpor.domain.fetching import OWN_FOLDER, Part, RemoteFile
from torpor.prewarm.disk import sync_folder, write_durably
from torpor.prewarm.layout import Layout
from torpor.prewarm.proof import ALGORITHMS, Sums, sum_piece
from torpor.prewarm.writing import Rung, read_back

_VERSION = 1
_LISTING, _RECORDS = "listing.json", "journal"
_RECORD = struct.Struct("<IQIBQI")
_CHECK = struct.Struct("<I")
_ROW_BYTES = _RECORD.size + _CHECK.size

Pieces = dict[int, Sums]
"""Checksums by offset."""


class _Head(NamedTuple):
    version: int
    name: str
    """Hash of the copy: what the listing of this store is called."""
    piece_bytes: int
    boot: str
    files: list[list[str | int]]

    @property
    def remote_files(self) -> tuple[RemoteFile, ...]:
        return tuple(RemoteFile(str(key), int(size), str(etag)) for key, size, etag in self.files)


class Journal:
    """The journal of one `partial/<hash>`; the caller holds the lock of that hash."""

    def __init__(
        self, folder: str, name: str, files: Sequence[RemoteFile], piece_bytes: int
    ) -> None:
        """Go on with the journal in `folder` if it is of the copy `name`, which has these files; else begin one.

        Raises:
            OSError: the folder cannot be written.
        """
        self._folder = folder
        own = os.path.join(folder, OWN_FOLDER)
        os.makedirs(own, exist_ok=True)
        self._path = os.path.join(own, _RECORDS)
        self._name = name
        head = _read_head(folder, name)
        if head is None or head.files != _rows(files):
            _begin(folder, name, files, piece_bytes)
            head = _Head(_VERSION, name, piece_bytes, _boot_id(), _rows(files))
        self.piece_bytes = head.piece_bytes
        """As the journal has it: pieces of another size could not be told apart from those that are there."""
        self.rebooted = head.boot != _boot_id()
        """Whether the pieces must be read again before they are trusted."""
        self._files = head.remote_files
        self._numbers = {file.key: number for number, file in enumerate(self._files)}
        self.there, length = _read_records(self._path, self._files, head.piece_bytes)
        self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.ftruncate(self._fd, length)

    @property
    def there_bytes(self) -> int:
        """Bytes of all pieces that were found at the start."""
        sizes = {file.key: file.size for file in self._files}
        return sum(
            min(self.piece_bytes, sizes[key] - offset)
            for key, pieces in self.there.items()
            for offset in pieces
        )

    def scrub(self, rung: Rung) -> None:
        """Read every piece that is said to be there, and believe only what the disk gives back."""
        for file in self._files:
            if self.there.get(file.key):
                self.there[file.key] = self._reread(file, self.there[file.key], rung)
        kept = [
            self._row(key, offset, sums)
            for key, pieces in self.there.items()
            for offset, sums in pieces.items()
        ]
        os.close(self._fd)
        write_durably(self._path, b"".join(kept))
        _write_head(self._folder, self._name, self._files, self.piece_bytes)
        self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        self.rebooted = False

    def _reread(self, file: RemoteFile, pieces: Pieces, rung: Rung) -> Pieces:
        path = os.path.join(self._folder, file.key)
        views = read_back(path, file.size, rung, sorted(pieces), self.piece_bytes)
        return {
            offset: pieces[offset]
            for offset, view in views
            if sum_piece("crc64nvme", view).crc64nvme == pieces[offset].crc64nvme
        }

    def add(self, piece: Part, sums: Sums) -> None:
        """A piece is in its file; from any thread.

        Raises:
            OSError: the record cannot be written.
        """
        self._append(self._row(piece.key, piece.offset, sums))

    def annul(self, key: str) -> None:
        """None of a file's pieces counts any more: their bytes are not what the store has."""
        self._append(_pack(self._numbers[key], 0, 0, Sums(0, "", 0)))

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._fd)

    def _append(self, row: bytes) -> None:
        os.write(self._fd, row)  # appended whole, whichever threads write at once

    def _row(self, key: str, offset: int, sums: Sums) -> bytes:
        return _pack(self._numbers[key], offset, self.piece_bytes, sums)


def resumable(layout: Layout, name: str) -> bool:
    """Whether `partial/<name>` can be gone on with: its own listing, and every file at its full size.

    A copy that was renamed but whose marker was never written is put back first. The caller holds the lock.
    """
    partial, model = layout.partial(name), layout.model(name)
    if not os.path.isdir(partial) and not os.path.exists(layout.marker(name)):
        if _read_head(model, name) is None:
            return False
        os.makedirs(os.path.dirname(partial), exist_ok=True)
        os.rename(model, partial)
    head = _read_head(partial, name)
    if head is None:
        return False
    try:
        return all(
            os.stat(os.path.join(partial, file.key)).st_size >= file.size
            for file in head.remote_files
        )
    except OSError:
        return False


def is_worth_keeping(folder: str) -> bool:
    """Whether anything in a folder would be trusted by the next run."""
    try:
        return os.stat(os.path.join(folder, OWN_FOLDER, _RECORDS)).st_size > 0
    except OSError:
        return False


def forget(folder: str) -> None:
    """Remove the journal of a copy that is complete."""
    for name in (_RECORDS, _LISTING):
        path = os.path.join(folder, OWN_FOLDER, name)
        if os.path.exists(path):
            os.unlink(path)


def _begin(folder: str, name: str, files: Sequence[RemoteFile], piece_bytes: int) -> None:
    write_durably(os.path.join(folder, OWN_FOLDER, _RECORDS), b"")
    _write_head(folder, name, files, piece_bytes)
    sync_folder(folder)


def _write_head(folder: str, name: str, files: Sequence[RemoteFile], piece_bytes: int) -> None:
    head = _Head(_VERSION, name, piece_bytes, _boot_id(), _rows(files))
    write_durably(
        os.path.join(folder, OWN_FOLDER, _LISTING),
        json.dumps(head._asdict(), ensure_ascii=False).encode(),
    )


def _rows(files: Sequence[RemoteFile]) -> list[list[str | int]]:
    return [[file.key, file.size, file.etag] for file in sorted(files)]


def _read_head(folder: str, name: str) -> _Head | None:
    try:
        with open(os.path.join(folder, OWN_FOLDER, _LISTING), encoding="utf-8") as file:
            head = _Head(**json.load(file))
        fits = (head.version, head.name) == (_VERSION, name)
    except (OSError, ValueError, TypeError):
        return None
    return head if fits else None


def _boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def _pack(number: int, offset: int, length: int, sums: Sums) -> bytes:
    algorithm = ALGORITHMS.index(sums.algorithm) if sums.algorithm else 0
    row = _RECORD.pack(number, offset, length, algorithm, sums.crc64nvme, sums.other)
    return row + _CHECK.pack(zlib.crc32(row))


def _read_records(
    path: str, files: Sequence[RemoteFile], piece_bytes: int
) -> tuple[dict[str, Pieces], int]:
    """The pieces of each file, and how many bytes of the journal are sound."""
    there: dict[str, Pieces] = {}
    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        content = b""
    sound = 0
    for start in range(0, len(content) - _ROW_BYTES + 1, _ROW_BYTES):
        row = content[start : start + _RECORD.size]
        (check,) = _CHECK.unpack_from(content, start + _RECORD.size)
        number, offset, length, algorithm, crc64, other = _RECORD.unpack(row)
        if check != zlib.crc32(row) or number >= len(files):
            break
        sound = start + _ROW_BYTES
        key = files[number].key
        if length == 0:
            there.pop(key, None)
        elif length == piece_bytes and offset % piece_bytes == 0 and offset < files[number].size:
            name = ALGORITHMS[algorithm] if algorithm else ""
            there.setdefault(key, {})[offset] = Sums(crc64, name, other)
    return there, sound
