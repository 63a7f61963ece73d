"""What to fetch: a bucket's listing and what is on the node already → a plan, or the reason why there is none.

Two listings that hash alike hold the same bytes, so the hash is the name of the copy on the node and two
endpoints on one checkpoint in one bucket share it. The order of the parts is the order of the plan: small
files first, so that an engine's configuration is there early, then each shard from front to back.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

WEIGHT_SUFFIXES = (".safetensors", ".bin", ".gguf")
"""A checkpoint has at least one file that ends so, beside its `config.json`."""

OWN_FOLDER = ".torpor/"
"""Marker and manifest live here; objects of that name in a bucket are not part of the model."""

MOST_FILES = 20_000
"""More objects than any checkpoint has: such a prefix is a whole bucket given by mistake."""


class FetchReason(StrEnum):
    """Why weights cannot be on the node. The values are members of `torpor.api.conditions.Reason`."""

    ACCESS_DENIED = "WeightsAccessDenied"
    """The store knows the request but refuses it: wrong key, wrong secret, no permission, clock."""
    BUCKET_NOT_FOUND = "WeightsBucketNotFound"
    """The store has no bucket of that name."""
    EMPTY = "WeightsEmpty"
    """The bucket is there, but nothing lies under the prefix."""
    NOT_A_CHECKPOINT = "WeightsNotACheckpoint"
    """Something lies there that no engine can load."""
    CORRUPT = "WeightsCorrupt"
    """Truncated, wrong checksum, or a header that does not describe its file."""
    TLS_UNTRUSTED = "WeightsTLSUntrusted"
    """The store's certificate is not signed by an authority that is trusted."""
    UNREACHABLE = "WeightsUnreachable"
    """No connection, no answer, or an answer that is not S3."""
    WRONG_REGION = "WeightsWrongRegion"
    """The bucket lives in another region than the one signed for."""
    TOO_LARGE = "WeightsTooLarge"
    """More bytes than the cache's budget or the disk holds."""
    CACHE_FULL = "WeightsCacheFull"
    """The cache is full of what runs, is pinned or was used more recently: others alone are in the way."""
    GATED = "WeightsGated"
    """A Hugging Face repository whose licence must be accepted, or that needs a token."""
    CHANGED = "WeightsChanged"
    """The objects were replaced since they were listed."""
    INTERNAL = "WeightsInternal"
    """Anything else: the message says what."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why there is no plan, in one sentence, and whether waiting alone can change it."""

    reason: FetchReason
    message: str
    retryable: bool = False


@dataclass(frozen=True, slots=True, order=True)
class RemoteFile:
    """One object of the checkpoint: key relative to the prefix, bytes, and ETag without quotes."""

    key: str
    size: int
    etag: str


RefuseKind = Callable[[str, Sequence[RemoteFile]], Refusal | None]
"""Source and its files → why they are not what they should be."""


@dataclass(frozen=True, slots=True)
class Part:
    """One range of one file, moved by one request."""

    key: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class FetchPlan:
    """Everything to move, in the order of moving. `hit`: nothing, the node has it."""

    hash: str
    files: tuple[RemoteFile, ...]
    parts: tuple[Part, ...]
    hit: bool

    @property
    def total_bytes(self) -> int:
        """Sum of the files' sizes, whether they are to be moved or not."""
        return sum(file.size for file in self.files)


def checkpoint_files(listing: Iterable[RemoteFile]) -> tuple[RemoteFile, ...]:
    """Leave out what is no file: folder marks (keys that end in a slash) and torpor's own folder."""
    return tuple(
        sorted(
            file
            for file in listing
            if file.key and not file.key.endswith("/") and not file.key.startswith(OWN_FOLDER)
        )
    )


def listing_hash(files: Iterable[RemoteFile], store: str) -> str:
    r"""Name the content: sha256 over `store \n` and the sorted lines `key \0 size \0 etag \n`, 128 bits in hex.

    `store` says whose word the ETags are: address and bucket, as `Address.store` gives them. Names, sizes and
    ETags alone are what anybody's own server can say. Without the store in the name, a tenant could list what
    another tenant's bucket holds and put other bytes under that name, or be given the other's bytes. So a copy is
    shared, by two endpoints or two namespaces, exactly when the credentials of each have listed the same objects
    in the same bucket at the same address. The prefix does not matter: a bucket does not lie about its own.
    """
    lines = sorted(f"{file.key}\0{file.size}\0{file.etag}\n".encode() for file in files)
    return hashlib.sha256(b"".join([f"{store}\n".encode(), *lines])).hexdigest()[:32]


def bundle_hash(hashes: Sequence[str]) -> str:
    """Name several contents together, in their order (model, draft, adapters); one alone keeps its own name."""
    if len(hashes) == 1:
        return hashes[0]
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()[:32]


def plan_fetch(
    files: Sequence[RemoteFile], on_node: dict[str, int] | None, part_bytes: int, store: str
) -> FetchPlan:
    """Cut the files into parts of at most `part_bytes`, small files first.

    Args:
        files: the checkpoint, as `checkpoint_files` gives it.
        on_node: size by key of the complete copy that the node has under this hash, None without one. A
            copy that lacks a file, or has one of another size, is no copy: everything is moved again.
        part_bytes: most bytes of one part.
        store: address and bucket, for the name (see `listing_hash`).
    """
    ordered = tuple(sorted(files, key=lambda file: (file.size > part_bytes, file.key)))
    hit = on_node is not None and on_node == {file.key: file.size for file in files}
    parts = () if hit else tuple(part for file in ordered for part in cut(file, part_bytes))
    return FetchPlan(hash=listing_hash(files, store), files=ordered, parts=parts, hit=hit)


def cut(file: RemoteFile, part_bytes: int) -> tuple[Part, ...]:
    """Cut one file; an empty file has no parts."""
    return tuple(
        Part(file.key, offset, min(part_bytes, file.size - offset))
        for offset in range(0, file.size, part_bytes)
    )


def refuse_listing(
    source: str, files: Sequence[RemoteFile], refuse_kind: RefuseKind | None = None
) -> Refusal | None:
    """Say why these files are not a checkpoint that an engine can load; None when they are.

    `refuse_kind` judges the names of what is no checkpoint (`torpor.domain.artifacts.refuse_adapter`).
    """
    if not files:
        return Refusal(
            FetchReason.EMPTY,
            f"{source} holds no object; upload the checkpoint or correct spec.model.source",
        )
    return (
        _refuse_amount(source, files)
        or _refuse_names(source, files)
        or (refuse_kind or _refuse_kind)(source, files)
        or _refuse_etags(source, files)
    )


def _refuse_amount(source: str, files: Sequence[RemoteFile]) -> Refusal | None:
    if len(files) <= MOST_FILES:
        return None
    return Refusal(
        FetchReason.NOT_A_CHECKPOINT,
        f"{source} holds more than {MOST_FILES} objects; spec.model.source must name the folder of one model",
    )


def _refuse_names(source: str, files: Sequence[RemoteFile]) -> Refusal | None:
    """Refuse keys that would leave the folder or that a file system cannot hold side by side."""
    keys = {file.key for file in files}
    for key in sorted(keys):
        segments = key.split("/")
        folders = ("/".join(segments[:depth]) for depth in range(1, len(segments)))
        if (
            "\0" in key
            or any(segment in ("", ".", "..") for segment in segments)
            or any(len(segment.encode()) > 255 for segment in segments)
            or any(folder in keys for folder in folders)
        ):
            return Refusal(
                FetchReason.NOT_A_CHECKPOINT,
                f"{source} holds the key {key[:200]!r}, which cannot be a file beside the others; remove it",
            )
    return None


def _refuse_kind(source: str, files: Sequence[RemoteFile]) -> Refusal | None:
    keys = [file.key for file in files]
    if "config.json" not in keys:
        nested = sorted(key for key in keys if key.endswith("/config.json"))
        hint = f"; there is one at {source}{nested[0]}" if nested else ""
        return Refusal(
            FetchReason.NOT_A_CHECKPOINT,
            f"{source} is not a checkpoint: its {len(keys)} objects include no config.json{hint}",
        )
    if not any(key.endswith(WEIGHT_SUFFIXES) and "/" not in key for key in keys):
        return Refusal(
            FetchReason.NOT_A_CHECKPOINT,
            f"{source} is not a checkpoint: beside config.json there is no file that ends in "
            + ", ".join(WEIGHT_SUFFIXES),
        )
    return None


def _refuse_etags(source: str, files: Sequence[RemoteFile]) -> Refusal | None:
    """Without an ETag a replaced object cannot be told from the listed one."""
    for file in files:
        if not file.etag:
            return Refusal(
                FetchReason.NOT_A_CHECKPOINT,
                f"the store lists {source}{file.key} without an ETag, so its content cannot be pinned",
            )
    return None


def refuse_size(
    source: str, need_bytes: int, budget_bytes: int, used_bytes: int, free_bytes: int | None
) -> Refusal | None:
    """Refuse what does not fit, before the first byte.

    Args:
        source: what is to be fetched, for the message.
        need_bytes: bytes of the whole checkpoint.
        budget_bytes: most that the cache may hold; 0 for no limit but the disk.
        used_bytes: what the cache holds of other models, those under way included.
        free_bytes: what the disk has left; None where that is not known.
    """
    need = format_bytes(need_bytes)
    if budget_bytes and need_bytes > budget_bytes:
        return Refusal(
            FetchReason.TOO_LARGE,
            f"{source} has {need}, the cache budget of a node is {format_bytes(budget_bytes)}",
        )
    if budget_bytes and need_bytes + used_bytes > budget_bytes:
        return Refusal(
            FetchReason.TOO_LARGE,
            f"{source} has {need}, but other models use {format_bytes(used_bytes)} of the node's "
            f"cache budget of {format_bytes(budget_bytes)}",
            retryable=True,
        )
    if free_bytes is not None and need_bytes > free_bytes:
        return Refusal(
            FetchReason.TOO_LARGE,
            f"{source} has {need}, but the node's cache disk has {format_bytes(free_bytes)} free",
            retryable=True,
        )
    return None


def format_bytes(count: int) -> str:
    """Say a number of bytes as people do: `14.9 GiB`."""
    amount = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{count} bytes" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"
