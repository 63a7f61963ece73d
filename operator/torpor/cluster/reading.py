"""One object as the API server has it this instant, for who must not act on what a watch told a moment ago."""

from __future__ import annotations

import json
import logging
from typing import Any

import aiohttp

from torpor.cluster.connect import Api

Json = dict[str, Any]
log = logging.getLogger(__name__)


class Reader:
    """Reads single objects; never raises for what the API server or the network does."""

    def __init__(self, api: Api, seconds: float) -> None:
        """Give each read *seconds* to be answered."""
        self._api = api
        self._timeout = aiohttp.ClientTimeout(total=seconds)

    async def read(self, path: str) -> Json | None:
        """Return the object at *path*, not older than this call; None if it is gone or nobody can tell."""
        try:
            response = await self._api.send("GET", path, timeout=self._timeout)
            async with response:
                body = await response.read()
            answer: Json | None = json.loads(body) if response.status == 200 else None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            log.warning("reading %s: %s", path, str(error) or type(error).__name__)
            return None
        return answer
