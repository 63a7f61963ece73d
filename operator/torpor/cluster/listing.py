"""All objects of a kind, once, for a command that looks and leaves."""

from __future__ import annotations

import json
from typing import Any

import aiohttp

from torpor.cluster.connect import Api
from torpor.manifests import names

Json = dict[str, Any]

PAGE_SIZE = 250
"""As for programs that watch: a page of large objects stays below a few MB."""
PAGE_SECONDS = 60.0


class ListingRefused(Exception):
    """The API server could not be asked, or did not answer as hoped; `str()` says what it said."""


def endpoints_path(namespace: str | None) -> str:
    """Return the path of all InferenceEndpoints, or of those of one namespace."""
    middle = f"/namespaces/{namespace}" if namespace else ""
    return f"/apis/{names.API_VERSION}{middle}/{names.ENDPOINTS}"


async def list_all(api: Api, path: str) -> list[Json]:
    """Return every object of a collection.

    Raises:
        ListingRefused: It cannot be read; the message says why.
    """
    found: list[Json] = []
    token = ""
    while True:
        page = await _page(api, path, token)
        found.extend(page.get("items") or ())
        token = (page.get("metadata") or {}).get("continue") or ""
        if not token:
            return found


async def _page(api: Api, path: str, token: str) -> Json:
    query = [("limit", str(PAGE_SIZE)), *([("continue", token)] if token else [])]
    timeout = aiohttp.ClientTimeout(total=PAGE_SECONDS)
    try:
        response = await api.send("GET", path, query=query, timeout=timeout)
        async with response:
            status, body = response.status, await response.read()
        page: Json = json.loads(body)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        said = str(error) or "no answer in time"
        raise ListingRefused(f"the API server cannot be reached ({said})") from error
    except ValueError as error:
        raise ListingRefused(f"the API server answered GET {path} without JSON") from error
    if status != 200:
        said = str(page.get("message") or f"status {status}")[:512]
        raise ListingRefused(f"the API server refused GET {path}: {said}")
    return page
