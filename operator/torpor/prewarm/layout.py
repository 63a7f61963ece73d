"""Where things lie in a node's weights cache, and whether a complete copy is there. Standard library only.

models/<hash>/…                       the checkpoint, under its keys; there only when complete
models/<hash>/.torpor/manifest.json   what was fetched and how it was verified
models/<hash>/.torpor/READY           written last: without it the folder is not a copy
models/<hash>/.torpor/used            empty; its modification time is the last engine start (see `usage`)
models/<hash>/.torpor/boot            under which boot the bytes were written, or that they were read back since
partial/<hash>/…                      under way; never read as weights
compile/<namespace>/…                 a cache of its own, laid out like this one, for what the engines of one
                                      namespace compiled: compile/<key>/, whose `hash` names the weights it
                                      belongs to. A pod sees its own namespace's folder as `compile/`
trash/<hash>-<random>/…               renamed away and being unlinked; whoever holds locks/space finishes it
locks/<hash>                          held (flock) by the one process that fetches or removes this hash, and
                                      shared by those that take a hit or read the bytes back
locks/space                           held while room is measured, made and reserved
"""

import json
import os
from typing import Any, NamedTuple

from torpor.errors import TorporError

SPACE_LOCK = "space"
MODELS, PARTIAL, COMPILE, TRASH, LOCKS = "models", "partial", "compile", "trash", "locks"


class Manifest(NamedTuple):
    """What the marker stands for."""

    hash: str
    source: str
    verified: str
    """Weakest proof among the files: `crc64nvme`, `crc32c`, `crc32`, `md5-etag` or `size-only`."""
    fetched_at: str
    """RFC 3339, UTC."""
    files: dict[str, dict[str, Any]]
    """By key: `size` in bytes, `etag`, `crc64nvme` (16 hex digits) of the bytes on disk, `verified`."""

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of each file by key."""
        return {key: int(entry["size"]) for key, entry in self.files.items()}

    @property
    def total_bytes(self) -> int:
        """Sum of the files' sizes."""
        return sum(self.sizes.values())


class InvalidHash(TorporError):
    """A hash that cannot be a folder's name."""


class Layout(NamedTuple):
    """Paths of one cache folder."""

    root: str

    @property
    def compiled(self) -> "Layout":
        """The cache of compiled code as a pod sees it: its own namespace's, and the only part a companion may write."""
        return Layout(os.path.join(self.root, COMPILE))

    def model(self, name: str) -> str:
        """Folder of a published copy."""
        return os.path.join(self.root, MODELS, name)

    def partial(self, name: str) -> str:
        """Folder of a copy under way."""
        return os.path.join(self.root, PARTIAL, name)

    def lock(self, name: str) -> str:
        """File that is locked, never read."""
        return os.path.join(self.root, LOCKS, name)

    def manifest(self, name: str) -> str:
        """Manifest of a published copy."""
        return os.path.join(self.model(name), ".torpor", "manifest.json")

    def marker(self, name: str) -> str:
        """READY file of a published copy; its content is the hash."""
        return os.path.join(self.model(name), ".torpor", "READY")

    def used(self, name: str) -> str:
        """File whose modification time is the last use of a published copy."""
        return os.path.join(self.model(name), ".torpor", "used")

    def boot(self, name: str) -> str:
        """File that says since when the bytes of a published copy are trusted."""
        return os.path.join(self.model(name), ".torpor", "boot")

    def names(self, kind: str) -> list[str]:
        """What lies in one of the cache's folders, in order; nothing where the folder is missing."""
        try:
            return sorted(os.listdir(os.path.join(self.root, kind)))
        except FileNotFoundError:
            return []

    def find_copy(self, name: str) -> Manifest | None:
        """Return the manifest of a complete copy, None if there is none.

        Complete means: the marker says this hash, the manifest is readable and every file it names is
        there with its size. So a copy that somebody pruned by hand is fetched again instead of served.
        """
        try:
            with open(self.marker(name), encoding="ascii") as marker:
                if marker.read().strip() != name:
                    return None
            with open(self.manifest(name), encoding="utf-8") as file:
                manifest = Manifest(**json.load(file))
            for key, size in manifest.sizes.items():
                if os.stat(os.path.join(self.model(name), key)).st_size != size:
                    return None
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return manifest if manifest.hash == name else None


def is_hash(name: str) -> bool:
    """Whether this is a name that torpor gives: 32 lower-case hex digits."""
    return len(name) == 32 and all(digit in "0123456789abcdef" for digit in name)


def check_hash(name: str) -> str:
    """Return `name` if it is 32 lower-case hex digits.

    Raises:
        InvalidHash: anything else; it would become a path.
    """
    if is_hash(name):
        return name
    raise InvalidHash(
        "WeightsInternal", f"the weights hash {name[:80]!r} is not 32 hexadecimal digits"
    )
