"""Whether the API server serves a kind yet: for moments after its start it knows no kind that a CRD defines."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from torpor.cluster.reading import Reader

log = logging.getLogger(__name__)


async def until_served(reader: Reader, paths: Iterable[str], pause: float) -> None:
    """Return once every kind, by the path at which it is listed, is served; asks again after *pause* seconds.

    kopf looks once which kinds there are and never hears of one that was missing then: with the endpoints but without
    the GPU classes everybody was told that the cluster has none.
    """
    for path in paths:
        while await reader.read(f"{path}?limit=1") is None:
            log.warning("%s is not served yet", path)
            await asyncio.sleep(pause)
