"""All objects of a kind, page by page."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any

import aiohttp

from torpor.cluster.connect import Api
from torpor.manifests import names

Json = dict[str, Any]

PAGE_SIZE = 250
"""Objects per page of a list: a page of large objects stays below a few MB."""
PAGE_SECONDS = 60.0


class ListingRefused(Exception):
    """The API server could not be asked, or did not answer as hoped; `str()` says what it said."""


def endpoints_path(namespace: str | None) -> str:
    """Return the path of all InferenceEndpoints, or of those of one namespace."""
    middle = f"/namespaces/{namespace}" if namespace else ""
    return f"/apis/{names.API_VERSION}{middle}/{names.ENDPOINTS}"


async def pages(
    api: Api,
    path: str,
    read: Callable[[int, bytes], Json],
    *,
    timeout: aiohttp.ClientTimeout,
    query: Sequence[tuple[str, str]] = (),
    size: int = PAGE_SIZE,
    accept: str = "application/json",
) -> AsyncGenerator[Json, None]:
    """Yield a collection page by page; *read* makes each of a status and a body, or raises.

    Raises:
        aiohttp.ClientError: The API server cannot be reached.
        TimeoutError: It did not answer in time.
    """
    token = ""
    while True:
        asked = [*query, ("limit", str(size)), *([("continue", token)] if token else [])]
        response = await api.send("GET", path, query=asked, timeout=timeout, accept=accept)
        async with response:
            page = read(response.status, await response.read())
        yield page
        token = (page.get("metadata") or {}).get("continue") or ""
        if not token:
            return


async def list_all(api: Api, path: str) -> list[Json]:
    """Return every object of a collection.

    Raises:
        ListingRefused: It cannot be read; the message says why.
    """

    def read(status: int, body: bytes) -> Json:
        try:
            page: Json = json.loads(body)
        except ValueError as error:
            raise ListingRefused(f"the API server answered GET {path} without JSON") from error
        if status != 200:
            said = str(page.get("message") or f"status {status}")[:512]
            raise ListingRefused(f"the API server refused GET {path}: {said}")
        return page

    found: list[Json] = []
    timeout = aiohttp.ClientTimeout(total=PAGE_SECONDS)
    try:
        async with aclosing(pages(api, path, read, timeout=timeout)) as all_pages:
            async for page in all_pages:
                found.extend(page.get("items") or ())
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        said = str(error) or "no answer in time"
        raise ListingRefused(f"the API server cannot be reached ({said})") from error
    return found
