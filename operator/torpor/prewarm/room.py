"""Room in the cache: what is used, what may go for it, and a place reserved for what comes."""

import os

from torpor.domain.eviction import Need, Terms
from torpor.domain.fetching import Refusal, RemoteFile
from torpor.prewarm.disk import reserve
from torpor.prewarm.eviction import discard_folders, empty_trash, evict
from torpor.prewarm.failure import FetchFailure
from torpor.prewarm.inventory import free_bytes, list_entries, measure
from torpor.prewarm.layout import COMPILE, SPACE_LOCK, TRASH, Layout
from torpor.prewarm.locks import hold_lock
from torpor.settings.prewarm import PrewarmSettings


def read_terms(settings: PrewarmSettings) -> Terms:
    """What may go, as the settings say."""
    return Terms(
        budget_bytes=settings.budget_bytes,
        last_use=settings.last_use,
        keep=split_hashes(settings.keep),
        keep_as_of=settings.keep_as_of,
    )


def split_hashes(text: str) -> frozenset[str]:
    """Read hashes that are separated by commas."""
    return frozenset(name.strip() for name in text.split(",") if name.strip())


def make_room(
    layout: Layout,
    name: str,
    source: str,
    files: tuple[RemoteFile, ...],
    terms: Terms,
    *,
    resumable: bool = False,
) -> tuple[str, ...]:
    """Have `partial/<name>` with every file at its full size; the caller holds the lock of `name`.

    One process at a time measures, evicts and reserves, and reserved files count as used, so that two downloads
    cannot both take the last gigabyte.

    Args:
        layout: the cache.
        name: hash of what is to be fetched.
        source: the same for messages.
        files: what is to be fetched.
        terms: what may be evicted for it.
        resumable: `partial/<name>` is a download to be continued: it stays and counts as used, if every file is
            there at its full size; its journal speaks of nothing else. Otherwise what lies there is removed.

    Returns:
        Hashes of the copies that were evicted.

    Raises:
        FetchFailure: it does not fit the budget or the disk; nothing was evicted for it.
        OSError: the cache cannot be written.
    """
    partial = layout.partial(name)
    with hold_lock(layout.lock(SPACE_LOCK)):
        empty_trash(layout)
        resumable = resumable and not any(_lacks(partial, file) for file in files)
        leftovers = [layout.model(name)] if resumable else [partial, layout.model(name)]
        discard_folders(layout, [folder for folder in leftovers if os.path.isdir(folder)])
        outcome = evict(
            layout,
            _measure_need(layout, name, source, files),
            terms,
            [entry for entry in list_entries(layout) if entry.hash != name],
        )
        if isinstance(outcome, Refusal):
            raise FetchFailure(outcome.reason, outcome.message, retryable=outcome.retryable)
        os.makedirs(partial, exist_ok=True)
        if not resumable:
            reserve(partial, files)
    return tuple(entry.hash for entry in outcome if entry.published is not None)


def _measure_need(layout: Layout, name: str, source: str, files: tuple[RemoteFile, ...]) -> Need:
    return Need(
        source=source,
        total_bytes=sum(file.size for file in files),
        own_bytes=measure(layout.partial(name))[0],
        other_bytes=sum(measure(os.path.join(layout.root, kind))[0] for kind in (COMPILE, TRASH)),
        free_bytes=free_bytes(layout),
    )


def _lacks(folder: str, file: RemoteFile) -> bool:
    """Whether the file is not there at its full size."""
    try:
        return os.stat(os.path.join(folder, file.key)).st_size < file.size
    except (FileNotFoundError, NotADirectoryError):
        return True
