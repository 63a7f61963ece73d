"""Whether the API server serves a kind yet: for moments after its start it knows no kind that a CRD defines."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

from torpor.cluster.reading import Reader

Json = dict[str, Any]
log = logging.getLogger(__name__)


async def until_served(reader: Reader, kinds: Iterable[tuple[str, str, str]], pause: float) -> None:
    """Return once discovery names every kind, given as group, version and plural; looks again after *pause* seconds.

    kopf asks discovery once which kinds there are, and never hears of one that was missing then: with the endpoints
    but without the GPU classes, everybody would be told that the cluster has none.
    """
    wanted = list(kinds)
    while missing := await _missing(reader, wanted):
        log.warning("not served yet: %s", ", ".join(missing))
        await asyncio.sleep(pause)


async def _missing(reader: Reader, kinds: list[tuple[str, str, str]]) -> list[str]:
    groups = await reader.read("/apis") or {}
    known = {"", *(group["name"] for group in groups.get("groups") or ())}
    roots = {(g, v): f"/apis/{g}/{v}" if g else f"/api/{v}" for g, v, _ in kinds if g in known}
    served: set[tuple[str, str, str]] = set()
    for (group, version), path in roots.items():
        found: Json = await reader.read(path) or {}
        served |= {(group, version, one["name"]) for one in found.get("resources") or ()}
    return [
        f"{plural}.{group}" if group else plural
        for group, version, plural in kinds
        if (group, version, plural) not in served
    ]
