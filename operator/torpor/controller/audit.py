"""Find what is gone without anybody having said so.

kopf lists a kind anew when its watch has become too old, and then reports what is there, not what is missing: an object
that was deleted meanwhile would live on in our view for ever (a gateway pod that never answers keeps every GPU). So
once a minute each kind is listed, names only, and what was known before and is not there is taken out as deleted.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import aiohttp

from torpor.cluster.connect import Api
from torpor.cluster.listing import pages

Json = dict[str, Any]
log = logging.getLogger(__name__)

PERIOD_SECONDS = 60.0
_TIMEOUT = aiohttp.ClientTimeout(total=30)
_NAMES_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
PAGE = 500


@dataclass(frozen=True, slots=True)
class Shelf:
    """One kind: where it is listed, what is known of it by uid, and whom to tell of one that is gone."""

    path: str
    selector: str
    known: Callable[[], Mapping[str, Json]]
    gone: Callable[[Json], None]


class Audit:
    """Compares what is known with what is there."""

    def __init__(
        self, api: Api, shelves: list[Shelf], period: float = PERIOD_SECONDS, page: int = PAGE
    ) -> None:
        """List through *api*, *page* names at a time, with *period* seconds between two audits."""
        self._api = api
        self._shelves = shelves
        self._period = period
        self._page = page

    async def run(self, listed: asyncio.Event) -> None:
        """Audit until cancelled, once *listed* says that kopf's first listing is through."""
        await listed.wait()
        while True:
            await asyncio.sleep(self._period)
            for shelf in self._shelves:
                try:
                    await self.audit(shelf)
                except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                    log.warning("audit of %s: %s", shelf.path, str(error) or type(error).__name__)

    async def audit(self, shelf: Shelf) -> None:
        """Take out what was known before the listing began and is not in it."""
        before = set(shelf.known())
        there = await self._uids(shelf)
        for uid in before - there:
            obj = shelf.known().get(uid)
            if obj is not None:
                log.warning(
                    "%s %s is gone and no event said so", shelf.path, obj["metadata"]["name"]
                )
                shelf.gone(obj)

    async def _uids(self, shelf: Shelf) -> set[str]:
        uids: set[str] = set()
        query = [("labelSelector", shelf.selector)] if shelf.selector else []
        listing = pages(
            self._api,
            shelf.path,
            _read,
            timeout=_TIMEOUT,
            query=query,
            size=self._page,
            accept=_NAMES_ONLY,
        )
        async with aclosing(listing) as all_pages:
            async for page in all_pages:
                uids.update(item["metadata"]["uid"] for item in page.get("items") or ())
        return uids


def _read(status: int, body: bytes) -> Json:
    if status != 200:
        raise ValueError(f"the API server answered {status}")
    page: Json = json.loads(body)
    return page
