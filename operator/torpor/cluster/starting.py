"""Whether a 403 of the API server is its last word.

An API server that starts listens before it has read who may what, and forbids everything for some hundredths of a
second (20 to 100 ms, measured on 1.34); `/readyz` says so for a second longer. Whoever is told 403 therefore looks
there: if it starts, asking again is due; if not, it is asked a second time, for it may have become ready in between.
"""

from __future__ import annotations

import aiohttp

from torpor.cluster.connect import Api


async def is_ready(api: Api, timeout: aiohttp.ClientTimeout) -> bool:
    """Return whether the API server says that it has started; every service account may ask that by default."""
    try:
        response = await api.send("GET", "/readyz", timeout=timeout)
        async with response:
            return response.status == 200
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False
