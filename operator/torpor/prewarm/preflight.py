"""All that can be known before the first gigabyte: may we read it, is it a checkpoint, is it whole, does it fit."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import NamedTuple

from torpor.domain.fetching import (
    FetchReason,
    RemoteFile,
    checkpoint_files,
    listing_hash,
    refuse_config,
    refuse_index,
    refuse_listing,
    refuse_size,
)
from torpor.domain.safetensors import header_end, header_fault
from torpor.prewarm.crew import Crew
from torpor.prewarm.failure import FetchFailure, raise_refusal
from torpor.prewarm.store import Session, Store

FIRST_READ_BYTES = 64 * 1024
"""Most shards' headers are shorter, so that one request tells whether the shard is whole."""

MOST_CONFIG_BYTES = 16 * 1024 * 1024
SHARD_INDEX = "model.safetensors.index.json"
READERS = 8


class Listing(NamedTuple):
    """A checkpoint that passed."""

    files: tuple[RemoteFile, ...]
    hash: str
    total_bytes: int


def examine(store: Store, budget_bytes: int) -> Listing:
    """List the prefix and look into the small files and the shards' headers.

    Raises:
        FetchFailure: whatever is wrong first, in the order connection, credentials, bucket, listing, size, content.
    """
    source = store.address.source
    with open_session(store) as session:
        files = checkpoint_files(session.list_files())
        raise_refusal(refuse_listing(source, files))
        total = sum(file.size for file in files)
        raise_refusal(refuse_size(source, total, budget_bytes, used_bytes=0, free_bytes=None))
        _examine_texts(source, session, {file.key: file for file in files})
    shards = [file for file in files if file.key.endswith(".safetensors")]
    Crew(
        READERS,
        lambda: open_session(store),
        lambda session, shard: _examine_shard(source, session, shard),
        shards,
    ).run()
    return Listing(files, listing_hash(files, store.address.store), total)


@contextmanager
def open_session(store: Store) -> Generator[Session, None, None]:
    """Open a session and close it again."""
    session = store.session()
    try:
        yield session
    finally:
        session.close()


def _examine_texts(source: str, session: Session, files: dict[str, RemoteFile]) -> None:
    config = files["config.json"]
    raise_refusal(
        refuse_config(source, session.read(config, 0, min(config.size, MOST_CONFIG_BYTES)))
    )
    index = files.get(SHARD_INDEX)
    if index is not None:
        text = session.read(index, 0, min(index.size, MOST_CONFIG_BYTES))
        raise_refusal(refuse_index(source, index.key, text, set(files)))


def _examine_shard(source: str, session: Session, shard: RemoteFile) -> None:
    head = session.read(shard, 0, min(shard.size, FIRST_READ_BYTES))
    end = header_end(head, shard.size)
    if isinstance(end, int) and end > len(head):
        head += session.read(shard, len(head), end - len(head))
    fault = header_fault(head, shard.size)
    if fault is not None:
        raise FetchFailure(FetchReason.CORRUPT, f"{source}{shard.key} {fault}")
