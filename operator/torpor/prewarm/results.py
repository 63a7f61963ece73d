"""What is where the engine will look for it, and what the result document says of that.

A hit comes here and imports nothing that a hit does not need: not the domain, which takes longer than the hit.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from torpor import clock
from torpor.prewarm.layout import Layout, Manifest, check_hash
from torpor.prewarm.usage import take_hit
from torpor.settings.prewarm import PrewarmSettings

WEAKEST_LAST = ("crc64nvme", "crc32c", "crc32", "md5-etag", "size-only")
"""As `torpor.prewarm.proof.METHODS`, which takes long to import."""


class Done(NamedTuple):
    """One artifact that is where the engine will look for it."""

    hash: str
    files: int
    bytes: int
    verified: str
    since: str = ""
    """When it was fetched, RFC 3339; empty for what was there without us."""
    moved_bytes: int = 0
    seconds: float = 0.0
    hit: bool = True
    resumed_bytes: int = 0
    """What an earlier run, killed or failed, had left."""
    writes: str = ""
    """How files were written: `direct`, `dontcache` or `buffered`."""


def find_bundle(settings: PrewarmSettings, hashes: Sequence[str]) -> list[Done] | None:
    """All of the artifacts for an engine that starts now, marked as used, if the node has them; nobody is asked.

    Raises:
        FetchFailure: a claim's content is not what was listed.
    """
    layout, now = Layout(settings.cache_dir), clock.now_ms() // 1000
    found: list[Done] = []
    for index, name in enumerate(hashes):
        if index == 0 and settings.source.startswith("pvc://"):
            found.append(check_claim(settings, settings.source, check_hash(name)))
            continue
        manifest = take_hit(layout, check_hash(name), now)
        if manifest is None:
            return None
        found.append(done_before(manifest))
    return found


def check_claim(settings: PrewarmSettings, source: str, expected_hash: str | None) -> Done:
    """List a claim again.

    Raises:
        FetchFailure: it cannot be read, or is not what was listed.
    """
    from torpor.prewarm.claim import VERIFIED, relist

    found, files = relist(source, settings.claim_dir, expected_hash)
    return Done(found, len(files), sum(file.size for file in files), VERIFIED)


def done_before(manifest: Manifest) -> Done:
    """A copy that was there."""
    files, total = len(manifest.files), manifest.total_bytes
    return Done(manifest.hash, files, total, manifest.verified, manifest.fetched_at)


def describe_done(parts: Sequence[Done]) -> dict[str, Any]:
    """The document of `fetch` and `ensure`: summed, as weakly verified as the weakest."""
    files, total = sum(part.files for part in parts), sum(part.bytes for part in parts)
    verified = max((part.verified for part in parts), key=WEAKEST_LAST.index)
    seconds, moved = sum(part.seconds for part in parts), sum(part.moved_bytes for part in parts)
    rate = round(moved / seconds) if seconds else 0
    hit = all(part.hit for part in parts)
    if hit:
        since = max(part.since for part in parts)
        message = (
            f"the node has the {files} files since {since}"
            if since
            else f"the claim has the {files} files"
        )
    else:
        from torpor.domain.fetching import format_bytes

        message = (
            f"fetched {format_bytes(moved)} in {_count_files(parts)} files in "
            f"{seconds:.1f} s ({format_bytes(rate)}/s), verified: {verified}"
        )
    moving = next((part.writes for part in parts if part.writes), "")
    return {
        "hash": parts[0].hash if len(parts) == 1 else _name_together(parts),
        "parts": [part.hash for part in parts],
        "files": files,
        "bytes": total,
        "verified": verified,
        "reason": "Hit" if hit else "Ready",
        "seconds": round(seconds, 3),
        "bytesPerSecond": rate,
        **({} if hit else _of_the_network(parts)),
        **({"writes": moving} if moving else {}),
        "message": message,
    }


def _of_the_network(parts: Sequence[Done]) -> dict[str, int]:
    """What came from the store: all of it, and how much of that in earlier runs that were killed or failed."""
    return {
        "arrivedBytes": sum(part.moved_bytes + part.resumed_bytes for part in parts),
        "resumedBytes": sum(part.resumed_bytes for part in parts),
    }


def _count_files(parts: Sequence[Done]) -> int:
    return sum(part.files for part in parts if not part.hit)


def _name_together(parts: Sequence[Done]) -> str:
    from torpor.domain.fetching import bundle_hash

    return bundle_hash([part.hash for part in parts])
