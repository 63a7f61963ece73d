"""`pvc://claim/path`: weights that lie in a volume already, mounted here read-only. Nothing is ever fetched.

The engine reads them where they are, so all there is to say is that they are a checkpoint, and that they are still
the one that was listed. Standard library only, for the engine's init container.
"""

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from torpor.domain.fetching import FetchReason, RemoteFile, checkpoint_files
from torpor.prewarm.failure import FetchFailure

SCHEME = "pvc://"
VERIFIED = "size-only"
"""No checksum is known: whoever filled the volume answers for its content."""


class Claim(NamedTuple):
    """A folder of a mounted claim."""

    source: str
    """`pvc://claim/path/`, with one slash at its end."""
    folder: str
    """Where it is mounted."""
    root: str
    """Where the whole claim is mounted."""

    def list_files(self) -> tuple[RemoteFile, ...]:
        """Every file below the folder; its time of change stands where a bucket has an ETag.

        Hidden folders (snapshots of a file server, caches of downloaders) are left out.

        Raises:
            FetchFailure: it is not there, cannot be read, or a link leads out of the claim.
        """
        try:
            if not stat.S_ISDIR(os.stat(self.folder).st_mode):
                raise NotADirectoryError(20, "it is a file, not a folder", self.folder)
            return checkpoint_files(self._walk())
        except FileNotFoundError as error:
            name = os.path.relpath(error.filename or self.folder, self.root)
            raise FetchFailure(
                FetchReason.EMPTY, f"{self.source} is not there: the claim has no {name!r}"
            ) from error
        except OSError as error:
            raise _explain(self.source, error) from error

    def read(self, file: RemoteFile, offset: int, length: int) -> bytes:
        """Read a range of a listed file.

        Raises:
            FetchFailure: it cannot be read.
        """
        try:
            with open(os.path.join(self.folder, file.key), "rb") as content:
                content.seek(offset)
                return content.read(length)
        except OSError as error:
            raise _explain(self.source, error) from error

    def interrupt(self) -> None:
        """Nothing here waits for others."""

    def _walk(self) -> Iterator[RemoteFile]:
        root = os.path.realpath(self.root)
        for place, folders, names in os.walk(self.folder, onerror=_raise):
            folders[:] = [
                name for name in folders if not name.startswith(".") and name != "lost+found"
            ]
            for name in names:
                path = os.path.join(place, name)
                if os.path.commonpath((root, os.path.realpath(path))) != root:
                    raise FetchFailure(
                        FetchReason.NOT_A_CHECKPOINT,
                        f"{self.source}{os.path.relpath(path, self.folder)} is a link that leads out of the claim",
                    )
                seen = os.stat(path)
                if stat.S_ISREG(seen.st_mode):
                    key = os.path.relpath(path, self.folder)
                    yield RemoteFile(key, seen.st_size, str(seen.st_mtime_ns))


def open_claim(source: str, claim_dir: str) -> Claim:
    """Find the folder of a source.

    Raises:
        FetchFailure: the source is none, or nothing is mounted.
    """
    name, _, path = source.removeprefix(SCHEME).partition("/")
    segments = [segment for segment in path.split("/") if segment]
    if not source.startswith(SCHEME) or not name or {".", ".."} & set(segments):
        raise FetchFailure(
            FetchReason.INTERNAL, f"the source {source!r} is not of the form pvc://claim/path"
        )
    if not claim_dir:
        raise FetchFailure(
            FetchReason.INTERNAL, f"TORPOR_CLAIM_DIR does not say where {source} is mounted"
        )
    normal = "/".join([f"{SCHEME}{name}", *segments]) + "/"
    return Claim(normal, os.path.join(claim_dir, *segments), claim_dir)


def claim_hash(claim: Claim, files: Sequence[RemoteFile]) -> str:
    """Name what lies there: sha256 over the source and each file's key, size and time of change, 128 bits in hex.

    The source is part of it: the same times and sizes in another claim are other files.
    """
    lines = sorted(f"{file.key}\0{file.size}\0{file.etag}\n".encode() for file in files)
    return hashlib.sha256(b"".join([f"{claim.source}\n".encode(), *lines])).hexdigest()[:32]


def relist(
    source: str, claim_dir: str, expected_hash: str | None
) -> tuple[str, tuple[RemoteFile, ...]]:
    """List it again; returns its hash and files.

    Raises:
        FetchFailure: it cannot be read, or is not what was listed.
    """
    claim = open_claim(source, claim_dir)
    files = claim.list_files()
    found = claim_hash(claim, files)
    if expected_hash not in (None, found):
        raise FetchFailure(
            FetchReason.CHANGED,
            f"{claim.source} changed: it is {found} now, {expected_hash} was asked for",
        )
    return found, files


def _raise(error: OSError) -> None:
    raise error


def _explain(source: str, error: OSError) -> FetchFailure:
    denied = isinstance(error, PermissionError)
    hint = f" by user {os.getuid()}; set fsGroup or the files' mode" if denied else ""
    return FetchFailure(
        FetchReason.ACCESS_DENIED if denied else FetchReason.INTERNAL,
        f"{source} cannot be read{hint} ({error.strerror}: {error.filename})",
        retryable=not denied,
    )
