"""Are the bytes still those that were verified? Read back after the machine started anew.

A copy is forced to disk before its marker is, so on an honest disk a marker proves its bytes. A disk, or a
layer below it, that loses writes which it confirmed shows only after an unclean stop. Whether a stop was clean
nobody can know afterwards, so a new boot counts as unclean, per copy: `.torpor/boot` says under which boot the bytes
were written, and a copy of another boot (or of none that is known) is suspect until all of it was read back
around the page cache and had its checksums. That is done once: bytes that survived one boot are on the medium.

Only Jobs do this, one file after the other by one thread, which leaves an engine that loads at the same time most
of the disk. An engine's own hit never waits for it.
"""

import contextlib
import os

from torpor.prewarm.eviction import discard_folders
from torpor.prewarm.layout import Layout
from torpor.prewarm.locks import hold_lock
from torpor.prewarm.proof import combine, format_crc64, sum_piece
from torpor.prewarm.writing import Rung, probe, read_back

CHECKED = "checked"
_BUFFER_BYTES = 8 * 1024 * 1024
_BOOT_ID = "/proc/sys/kernel/random/boot_id"


def read_boot() -> str:
    """Name this boot of the machine; empty where the kernel does not say, then every copy is suspect once."""
    try:
        with open(_BOOT_ID, encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def note_boot(layout: Layout, name: str) -> None:
    """Note that the bytes were written now; if that is lost, they are read back once more than needed."""
    _note(layout, name, read_boot())


def is_suspect(layout: Layout, name: str) -> bool:
    """Whether the bytes may differ from what was verified when they arrived."""
    try:
        with open(layout.boot(name), encoding="ascii") as file:
            noted = file.read().strip()
    except (OSError, ValueError):
        return True
    return noted not in (CHECKED, read_boot()) or not noted


def heal(layout: Layout, name: str) -> str | None:
    """Scrub a suspect copy, and remove it if it is damaged; returns what was wrong.

    Hits go on meanwhile. A damaged copy goes even while an engine runs on it: files that are open stay so.

    Raises:
        OSError: the cache cannot be written.
    """
    if layout.find_copy(name) is None or not is_suspect(layout, name):
        return None
    with hold_lock(layout.lock(name), shared=True):
        fault = scrub(layout, name)
        if fault is None:
            _note(layout, name, CHECKED)
            return None
    with hold_lock(layout.lock(name)):
        if is_suspect(layout, name):
            discard_folders(layout, [layout.model(name)])
    return fault


def scrub(layout: Layout, name: str) -> str | None:
    """Read a whole copy and compare its checksums; returns the first fault, None if there is none (or no copy)."""
    manifest = layout.find_copy(name)
    if manifest is None:
        return None
    rung = _probe(layout)
    for key, entry in sorted(manifest.files.items()):
        path = os.path.join(layout.model(name), key)
        try:
            found = _sum_file(path, int(entry["size"]), rung)
        except OSError as error:
            return f"{key} of {name} cannot be read back: {error.strerror or error}"
        if found != entry["crc64nvme"]:
            return (
                f"{key} of {name} is damaged: crc64nvme on disk is {found}, "
                f"{entry['crc64nvme']} was written"
            )
    return None


def _probe(layout: Layout) -> Rung:
    """How the disk is read past the page cache; a cache that cannot be written is read through it."""
    with contextlib.suppress(OSError):
        return probe(layout.root)
    return Rung.BUFFERED


def _sum_file(path: str, size: int, rung: Rung) -> str:
    views = read_back(path, size, rung, step=_BUFFER_BYTES)
    sums = [(sum_piece("crc64nvme", view).crc64nvme, len(view)) for _, view in views]
    return format_crc64(combine("crc64nvme", sums))


def _note(layout: Layout, name: str, text: str) -> None:
    with contextlib.suppress(OSError), open(layout.boot(name), "w", encoding="ascii") as file:
        file.write(text + "\n")
