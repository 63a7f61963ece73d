"""All that can be known before the first gigabyte: may we read it, is it a checkpoint, is it whole, does it fit."""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import NamedTuple, Protocol

from torpor.domain.artifacts import ADAPTER_CONFIG, ArtifactKind, read_rank, refuse_adapter
from torpor.domain.checkpoint import refuse_config, refuse_index
from torpor.domain.fetching import (
    FetchReason,
    RemoteFile,
    checkpoint_files,
    listing_hash,
    refuse_listing,
    refuse_size,
)
from torpor.domain.safetensors import header_end, header_fault
from torpor.prewarm.claim import Claim, claim_hash
from torpor.prewarm.crew import Crew
from torpor.prewarm.failure import FetchFailure, raise_refusal, take
from torpor.prewarm.store import Session, Store

FIRST_READ_BYTES = 64 * 1024
"""Most shards' headers are shorter, so that one request tells whether the shard is whole."""

MOST_CONFIG_BYTES = 16 * 1024 * 1024
SHARD_INDEX = "model.safetensors.index.json"
READERS = 8


class Listing(NamedTuple):
    """A checkpoint or an adapter that passed."""

    files: tuple[RemoteFile, ...]
    hash: str
    total_bytes: int
    rank: int = 0
    """Largest LoRA rank of an adapter; 0 for others."""


class Reader(Protocol):
    """What gives ranges of listed files: a session with a store, or a folder."""

    def read(self, file: RemoteFile, offset: int, length: int) -> bytes:
        """Read a small range."""
        ...

    def interrupt(self) -> None:
        """Make a read in another thread fail now."""
        ...


def examine(store: Store, budget_bytes: int, kind: ArtifactKind = ArtifactKind.MODEL) -> Listing:
    """List the prefix and look into the small files and the shards' headers.

    Raises:
        FetchFailure: whatever is wrong first, in the order connection, credentials, bucket, listing, size, content.
    """
    source = store.address.source
    with open_session(store) as session:
        files = checkpoint_files(session.list_files())
        _refuse_names(source, files, kind)
        total = sum(file.size for file in files)
        raise_refusal(refuse_size(source, total, budget_bytes, used_bytes=0, free_bytes=None))
        rank = _examine_texts(source, session, files, kind)
    _examine_shards(source, lambda: open_session(store), files)
    return Listing(files, listing_hash(files, store.address.store), total, rank)


def examine_claim(claim: Claim, kind: ArtifactKind = ArtifactKind.MODEL) -> Listing:
    """Look at a mounted folder as at a bucket; no budget: it is not copied.

    Raises:
        FetchFailure: as `examine`.
    """
    files = claim.list_files()
    _refuse_names(claim.source, files, kind)
    rank = _examine_texts(claim.source, claim, files, kind)
    _examine_shards(claim.source, lambda: nullcontext(claim), files)
    total = sum(file.size for file in files)
    return Listing(files, claim_hash(claim, files), total, rank)


@contextmanager
def open_session(store: Store) -> Generator[Session, None, None]:
    """Open a session and close it again."""
    session = store.session()
    try:
        yield session
    finally:
        session.close()


def _refuse_names(source: str, files: tuple[RemoteFile, ...], kind: ArtifactKind) -> None:
    adapter = kind == ArtifactKind.ADAPTER
    raise_refusal(refuse_listing(source, files, refuse_adapter if adapter else None))


def _examine_texts(
    source: str, reader: Reader, files: tuple[RemoteFile, ...], kind: ArtifactKind
) -> int:
    """Read what describes the weights; returns an adapter's rank."""
    by_key = {file.key: file for file in files}
    if kind == ArtifactKind.ADAPTER:
        return take(read_rank(source, _read_text(reader, by_key[ADAPTER_CONFIG])))
    raise_refusal(refuse_config(source, _read_text(reader, by_key["config.json"])))
    index = by_key.get(SHARD_INDEX)
    if index is not None:
        raise_refusal(refuse_index(source, index.key, _read_text(reader, index), set(by_key)))
    return 0


def _read_text(reader: Reader, file: RemoteFile) -> bytes:
    return reader.read(file, 0, min(file.size, MOST_CONFIG_BYTES))


def _examine_shards(
    source: str,
    open_reader: Callable[[], AbstractContextManager[Reader]],
    files: tuple[RemoteFile, ...],
) -> None:
    shards = [file for file in files if file.key.endswith(".safetensors")]
    Crew(
        READERS,
        open_reader,
        lambda reader, shard: _examine_shard(source, reader, shard),
        shards,
    ).run()


def _examine_shard(source: str, reader: Reader, shard: RemoteFile) -> None:
    head = reader.read(shard, 0, min(shard.size, FIRST_READ_BYTES))
    end = header_end(head, shard.size)
    if isinstance(end, int) and end > len(head):
        head += reader.read(shard, len(head), end - len(head))
    fault = header_fault(head, shard.size)
    if fault is not None:
        raise FetchFailure(FetchReason.CORRUPT, f"{source}{shard.key} {fault}")
