"""Whatever the controller asks others about again and again, at a steady pace."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from torpor import clock

LEAST_PAUSE_SECONDS = 0.05
"""Between two turns that take longer than their period, so that others have their turn too."""


async def repeat(act: Callable[[], Awaitable[None]], period: float) -> None:
    """Do it every *period* seconds until cancelled, counted from the beginning of each turn."""
    while True:
        began = clock.monotonic()
        await act()
        await asyncio.sleep(max(LEAST_PAUSE_SECONDS, period - (clock.monotonic() - began)))
