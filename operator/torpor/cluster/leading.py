"""Holding the Lease in a thread of its own: a busy controller must not lose it.

When a thousand endpoints are listed anew the controller's event loop is busy for many seconds. A renewal in that loop
would wait for its turn until the Lease has run out, and the next leader would list them anew as well. So it is renewed
by another loop, in another thread. A loop that hangs for good is noticed by the kubelet's liveness probe, which the
busy loop itself must answer.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Awaitable, Callable
from typing import NoReturn

from torpor.cluster.connect import Api
from torpor.cluster.lease import Lease

log = logging.getLogger(__name__)

LAST_WORDS_SECONDS = 2.0
"""How long a loop may take to hear that the Lease is lost; then the process ends without it. Just as long is the time
between a holder's deadline and the instant from which somebody else may act."""


def end_now() -> NoReturn:
    """End this process without asking anybody: what it does from now on could contradict another's orders."""
    log.error("the Lease is lost and the controller does not hear it: ended")
    os._exit(1)


class Keeper:
    """Renews a Lease that is held already, from another thread."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[Api]],
        lease_over: Callable[[Api], Lease],
        end: Callable[[], object] = end_now,
    ) -> None:
        """Renew *lease_over* a connection of its own, made by *connect*; *end* all if nobody hears of a loss."""
        self._connect = connect
        self._lease_over = lease_over
        self._end = end
        self._heard = threading.Event()

    async def hold(self) -> None:
        """Renew until cancelled; once this has returned or raised, nothing renews any more.

        Raises:
            Lost: No renewal succeeded within the Lease's duration, or somebody else holds it.
        """
        ours = asyncio.get_running_loop()
        started: asyncio.Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[None]]]
        started, ended = ours.create_future(), ours.create_future()

        async def keep() -> None:
            renewing = asyncio.create_task(self._renew())
            ours.call_soon_threadsafe(started.set_result, (asyncio.get_running_loop(), renewing))
            await asyncio.wait({renewing})
            error = None if renewing.cancelled() else renewing.exception()
            ours.call_soon_threadsafe(_settle, ended, error)
            if error is not None and not self._heard.wait(LAST_WORDS_SECONDS):
                self._end()

        threading.Thread(target=asyncio.run, args=(keep(),), name="lease", daemon=True).start()
        try:
            await asyncio.shield(ended)
        except asyncio.CancelledError:
            theirs, renewing = await started
            if not ended.done():
                theirs.call_soon_threadsafe(renewing.cancel)
                await ended
            raise
        finally:
            self._heard.set()

    async def _renew(self) -> None:
        api = await self._connect()
        try:
            await self._lease_over(api).hold()
        finally:
            await api.close()


def _settle(ended: asyncio.Future[None], error: BaseException | None) -> None:
    if error is None:
        ended.set_result(None)
    else:
        ended.set_exception(error)
