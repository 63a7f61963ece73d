"""List, then watch, and never stop: a program's view of one kind of object.

A `Watching` hands every object to a listener as a plain dict and keeps none itself, so that the memory is what the
listener keeps. A watch that breaks goes on from the last resourceVersion it saw (bookmarks keep that one fresh); one
that is too old lists again. What was learnt stays with the listener while the API server is away.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from contextlib import aclosing
from typing import Any, Protocol

import aiohttp

from torpor import clock
from torpor.cluster.connect import Api
from torpor.cluster.listing import pages

Json = dict[str, Any]
log = logging.getLogger(__name__)

WATCH_SECONDS = (45, 75)
"""A watch is asked to end after a random time in between, so that a dead connection is noticed about once a minute."""
SILENCE_SECONDS = 15.0
"""How long after its announced end a silent watch is given up."""
LIST_SECONDS = 60.0
PAUSE_SECONDS = (0.1, 5.0)
"""First and last pause after failures; doubling, with jitter."""


class Gone(Exception):
    """The watch cannot go on from this resourceVersion, most often because it is too old: list again."""


class Failed(Exception):
    """The API server said no; `str()` has its status and words."""


class Listener(Protocol):
    """Who keeps what is seen."""

    def replace(self, objects: list[Json]) -> None:
        """Take in all objects there are; any other that was known is gone."""

    def change(self, obj: Json) -> None:
        """Take in one object that is new or has changed."""

    def remove(self, obj: Json) -> None:
        """Take in the last state of an object that is gone."""


class Watching:
    """One kind of object, followed for as long as `run` runs."""

    def __init__(self, api: Api, path: str, listener: Listener, selector: str = "") -> None:
        """Follow the collection at *path* (such as `/api/v1/pods`), narrowed by a label *selector*."""
        self.synced = asyncio.Event()
        self._api = api
        self._path = path
        self._listener = listener
        self._query = [("labelSelector", selector)] if selector else []
        self._version: str | None = None

    async def run(self) -> None:
        """Follow until cancelled; every failure is logged once per attempt and tried again."""
        pause = PAUSE_SECONDS[0]
        while True:
            began = clock.monotonic()
            try:
                if self._version is None:
                    self._version = await self._list()
                await self._watch(self._version)
            except Gone:
                self._version = None
            except (aiohttp.ClientError, TimeoutError, OSError, Failed, ValueError) as error:
                log.warning("watching %s: %s", self._path, str(error) or type(error).__name__)
            if clock.monotonic() - began > PAUSE_SECONDS[1]:
                pause = PAUSE_SECONDS[0]
                continue
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, PAUSE_SECONDS[1])

    async def _list(self) -> str:
        """Read all pages, hand them over at once, and return the resourceVersion to watch from."""
        objects: list[Json] = []
        metadata: Json = {}
        timeout = aiohttp.ClientTimeout(total=LIST_SECONDS)
        listing = pages(self._api, self._path, _checked, timeout=timeout, query=self._query)
        async with aclosing(listing) as all_pages:
            async for page in all_pages:
                objects.extend(_slim(item) for item in page.get("items") or ())
                metadata = page["metadata"]
        self._listener.replace(objects)
        self.synced.set()
        return str(metadata["resourceVersion"])

    async def _watch(self, version: str) -> None:
        """Follow changes from *version* until the API server ends the watch."""
        seconds = random.randint(*WATCH_SECONDS)
        query = [
            *self._query,
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", version),
            ("timeoutSeconds", str(seconds)),
        ]
        timeout = aiohttp.ClientTimeout(
            total=None, connect=LIST_SECONDS, sock_read=seconds + SILENCE_SECONDS
        )
        response = await self._api.send("GET", self._path, query=query, timeout=timeout)
        async with response:
            if response.status != 200:
                _checked(response.status, await response.read())
            while line := await response.content.readline():
                self._take(json.loads(line))

    def _take(self, event: Json) -> None:
        kind, obj = event["type"], event["object"]
        if kind == "ERROR":
            raise Gone(str(obj.get("message")))
        slim = _slim(obj)
        if kind in ("ADDED", "MODIFIED"):
            self._listener.change(slim)
        elif kind == "DELETED":
            self._listener.remove(slim)
        self._version = str(slim["metadata"]["resourceVersion"])


def _slim(obj: Json) -> Json:
    """Drop who owns which field: often the larger half of an object, and never of use to a watcher."""
    obj["metadata"].pop("managedFields", None)
    return obj


def _checked(status: int, body: bytes) -> Json:
    if status != 200:
        _refuse(status, body[:256].decode("utf-8", "replace"))
    answer: Json = json.loads(body)
    return answer


def _refuse(status: int, words: str) -> None:
    if status == 410:
        raise Gone(words)
    raise Failed(f"{status} {words}")
