"""Serve the real page with endpoints of one's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from torpor.controller.health import State
from torpor.controller.page.listing import Listing
from torpor.controller.page.serving import serve
from torpor.controller.seen import Seen


@dataclass(slots=True)
class Shown:
    """A page that is served on this machine, and what it is told."""

    state: State = field(default_factory=State)
    seen: Seen = field(default_factory=lambda: Seen("torpor-system"))
    holder: str = ""
    url: str = ""

    def lead(self) -> None:
        """Let this controller lead, with the whole cluster listed."""
        self.state.leads = True
        self.state.listed.set()


@asynccontextmanager
async def shown(host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Shown]:
    """Serve it on a port (0: any) for as long as the block lasts."""
    page = Shown()
    listing = Listing(page.state, "torpor-system", lambda: page.holder)
    listing.show(page.seen)
    runner = await serve(host, port, listing)
    page.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield page
    finally:
        await runner.cleanup()
