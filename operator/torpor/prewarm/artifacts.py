"""The model and what goes with it, one artifact after the other: listed, or brought to the node."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from torpor.domain.artifacts import Artifact, read_artifacts
from torpor.domain.fetching import FetchReason, bundle_hash, format_bytes, refuse_size
from torpor.domain.hub import mirror_source, parse_hub_source
from torpor.prewarm.claim import SCHEME as CLAIM
from torpor.prewarm.claim import open_claim
from torpor.prewarm.failure import FetchFailure, raise_refusal, take
from torpor.prewarm.fetch import Asker, bring_weights, find_copy, list_weights
from torpor.prewarm.inventory import CacheState
from torpor.prewarm.layout import check_hash
from torpor.prewarm.preflight import Listing, examine_claim
from torpor.prewarm.report import MOST_RESULT_BYTES, format_document
from torpor.prewarm.results import Done, check_claim, done_before
from torpor.settings.prewarm import PrewarmSettings

HUB = "hf://"
MOST_SOURCES_BYTES = 1500
"""The kubelet keeps 4096 bytes of a result. `parts` of 65 artifacts take 2300 of them."""

Say = Callable[[dict[str, Any]], None]


class Listed(NamedTuple):
    """One artifact that passed."""

    artifact: Artifact
    source: str
    """Where it lies: `s3://…` for what was copied from the hub."""
    commit: str
    """Of a hub's source whose revision is not the commit itself; else empty."""
    listing: Listing


def list_bundle(settings: PrewarmSettings, say: Say) -> dict[str, Any]:
    """Examine every artifact, copying those of the hub into the bucket first; returns the result document.

    Raises:
        FetchFailure: one of them cannot be used; the message names it.
    """
    listed: list[Listed] = []
    for artifact in take(read_artifacts(settings.source, settings.extras)):
        with _naming(artifact):
            listed.append(_list_one(settings, artifact, say))
    copied = [one for one in listed if not one.source.startswith(CLAIM)]
    if len(copied) > 1:
        need = sum(one.listing.total_bytes for one in copied)
        names = f"{copied[0].source} with {len(copied) - 1} more artifacts"
        raise_refusal(refuse_size(names, need, settings.budget_bytes, 0, None))
    return describe_listed(listed)


def bring_bundle(asker: Asker, hashes: Sequence[str]) -> tuple[list[Done], CacheState | None]:
    """Have every artifact on the node; `hashes`, if any, say which content of each is accepted.

    Returns what is there, and how the node's cache is now; None where it was not touched.

    Raises:
        FetchFailure: one of them cannot be brought; the message names it.
    """
    artifacts = take(read_artifacts(asker.settings.source, asker.settings.extras))
    if hashes and len(hashes) != len(artifacts):
        raise FetchFailure(
            FetchReason.INTERNAL,
            f"{len(hashes)} hashes were given for {len(artifacts)} artifacts (the model and TORPOR_EXTRAS)",
        )
    done: list[Done] = []
    caches: list[CacheState] = []
    for index, artifact in enumerate(artifacts):
        with _naming(artifact):
            one, cache = _bring_one(asker, artifact, hashes[index] if hashes else None)
        done.append(one)
        caches += [cache] if cache else []
    if not caches:
        return done, None
    evicted = tuple(name for cache in caches for name in cache.evicted)
    return done, caches[-1]._replace(evicted=evicted)


def _list_one(settings: PrewarmSettings, artifact: Artifact, say: Say) -> Listed:
    if artifact.source.startswith(CLAIM):
        claim = open_claim(artifact.source, settings.claim_dir)
        return Listed(artifact, claim.source, "", examine_claim(claim, artifact.kind))
    source, commit = _resolve(settings, artifact, say)
    name, listing = list_weights(settings._replace(source=source), artifact.kind)
    return Listed(artifact, name, commit, listing)


def _bring_one(
    asker: Asker, artifact: Artifact, expected: str | None
) -> tuple[Done, CacheState | None]:
    if artifact.source.startswith(CLAIM):
        return check_claim(asker.settings, artifact.source, expected), None
    brought = find_copy(asker, check_hash(expected)) if expected else None
    if brought is None:
        source, _ = _resolve(asker.settings, artifact, asker.say)
        theirs = asker._replace(settings=asker.settings._replace(source=source), kind=artifact.kind)
        brought = bring_weights(theirs, expected)
    done = done_before(brought.manifest)._replace(
        moved_bytes=brought.moved_bytes,
        seconds=brought.seconds,
        hit=brought.hit,
        resumed_bytes=brought.resumed_bytes,
        writes=str(brought.writes),
    )
    return done, brought.cache


def _resolve(settings: PrewarmSettings, artifact: Artifact, say: Say) -> tuple[str, str]:
    """Where to fetch from, and the commit if only now it is known."""
    if not artifact.source.startswith(HUB):
        return artifact.source, ""
    from torpor.prewarm.mirror import copy_to_mirror  # imports huggingface_hub: half a second

    hub = take(parse_hub_source(artifact.source))
    commit = copy_to_mirror(settings, hub, artifact.kind, say)
    return mirror_source(settings.hub_mirror, hub.repo, commit), "" if hub.pinned else commit


def describe_listed(listed: Sequence[Listed]) -> dict[str, Any]:
    """Put the result document together.

    Raises:
        FetchFailure: it would be longer than a pod may say.
    """
    files = sum(len(one.listing.files) for one in listed)
    total = sum(one.listing.total_bytes for one in listed)
    rank = max(one.listing.rank for one in listed)
    more = f", with {len(listed) - 1} more artifacts" if len(listed) > 1 else ""
    sources = [one.source for one in listed]
    commits = [one.commit for one in listed]
    named = sum(len(source) + 3 for source in sources) <= MOST_SOURCES_BYTES
    result = {
        "reason": "Listed",
        "hash": bundle_hash([one.listing.hash for one in listed]),
        "parts": [one.listing.hash for one in listed],
        "source": sources[0],
        **({"sources": sources} if named else {}),
        **({"commits": commits} if any(commits) else {}),
        "files": files,
        "bytes": total,
        **({"loraRank": rank} if rank else {}),
        "message": f"{sources[0]} holds a checkpoint of {files} files, {format_bytes(total)}{more}",
    }
    size = len(format_document(result).encode())
    if size > MOST_RESULT_BYTES:
        raise FetchFailure(
            FetchReason.INTERNAL,
            f"the result for {len(listed)} artifacts takes {size} bytes, a pod may say {MOST_RESULT_BYTES}: "
            "name commits (hf://org/name@<40 hex digits>) instead of branches, then less has to be said",
        )
    return result


@contextmanager
def _naming(artifact: Artifact) -> Generator[None, None, None]:
    """Say which artifact a failure is about."""
    try:
        yield
    except FetchFailure as error:
        if not artifact.label:
            raise
        message = artifact.label + error.message
        raise FetchFailure(FetchReason(error.reason), message, retryable=error.retryable) from error
