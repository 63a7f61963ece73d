"""One port for each direct endpoint: whoever comes in there means that endpoint, whatever its headers say.

A direct endpoint's Service leads here while nothing runs. Which Service a client has asked cannot be told from the
connection, a bare model name may belong to an older namesake, and the Host header is what the client likes. So the
controller gives every direct endpoint a port of its own, and writes it into the status; this gateway opens it, and says
so in its demand report. Only then do the slices of the Service lead to it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from torpor.gateway.catalogue import Entry
from torpor.gateway.wire.port import ClientPort

log = logging.getLogger(__name__)

TRY_AGAIN_SECONDS = 5.0
"""Pause before a port that somebody else has is tried again."""


class SideDoors:
    """Opens and closes the ports; one change at a time, so that a port given to another endpoint is free by then."""

    def __init__(self, make: Callable[[str, int], ClientPort]) -> None:
        """Make each port with *make*, of the endpoint's `namespace/name` and the port's number."""
        self._make = make
        self._wanted: dict[str, int] = {}
        self._open: dict[str, tuple[int, ClientPort]] = {}
        self._changed = asyncio.Event()
        self._stopped = False

    @property
    def numbers(self) -> dict[str, int]:
        """Return the ports that are open, by endpoint."""
        return {key: number for key, (number, _) in self._open.items()}

    def told(self, key: str, entry: Entry | None) -> None:
        """Take in an endpoint as it is now, None when it is gone."""
        port = entry.direct_port if entry is not None else None
        if port is None:
            self._wanted.pop(key, None)
        else:
            self._wanted[key] = port
        if self._wanted.get(key) != self.numbers.get(key):
            self._changed.set()

    async def run(self) -> None:
        """Open and close until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            if not await self._settle():
                asyncio.get_running_loop().call_later(TRY_AGAIN_SECONDS, self._changed.set)

    async def stop(self) -> None:
        """Accept no more connections; those there are go on."""
        self._stopped = True
        for _, port in list(self._open.values()):
            await port.stop()

    async def close(self) -> None:
        """Close every connection, whatever runs on it."""
        for _, port in self._open.values():
            await port.close()
        self._open.clear()

    async def _settle(self) -> bool:
        """Bring what is open to what is wanted; return whether that is done."""
        for key, (number, port) in list(self._open.items()):
            if self._wanted.get(key) != number:
                await port.stop()  # what runs on it ends by itself
                del self._open[key]
        done = True
        for key, number in list(self._wanted.items()):
            if key in self._open or self._stopped:
                continue
            port = self._make(key, number)
            try:
                await port.open()
            except OSError as error:
                log.error("%s: its port %d cannot be opened: %s", key, number, error)
                done = False
                continue
            self._open[key] = (number, port)
        return done
