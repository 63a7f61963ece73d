"""`python -m dev.page`: take docs/page.png anew; `--serve` shows the same page to a browser of yours until Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import sys
from contextlib import suppress
from pathlib import Path

from dev.browser import Browser, ensure_chromium
from dev.cluster.progress import say
from torpor import clock

from .endpoints import by_key
from .showing import shown
from .stories import STORIES

PICTURE = Path(__file__).resolve().parents[2] / "docs" / "page.png"
READY = "document.querySelectorAll('#rows tr').length > 0"


async def take(browser: Browser, path: Path, width: int, height: int, scheme: str) -> None:
    """Write a picture of the page."""
    async with shown() as page, browser.tab() as tab:
        page.lead()
        page.seen.endpoints.update(by_key(STORIES, clock.now_ms()))
        await tab.show_as(width, height, scheme)
        await tab.open(page.url)
        await tab.until(READY)
        full = await tab.run("document.documentElement.scrollHeight")
        await tab.show_as(width, min(height, int(full)) if height else int(full), scheme)
        path.write_bytes(await tab.picture())
    say(f"{path.name}: {width} wide, {scheme}")


async def stay(port: int) -> None:
    """Serve the page until told to stop."""
    async with shown(port=port) as page:
        page.lead()
        page.seen.endpoints.update(by_key(STORIES, clock.now_ms()))
        say(f"{page.url} until Ctrl-C")
        await asyncio.Event().wait()


def main() -> int:
    """Read the command line and do what it says."""
    parser = argparse.ArgumentParser(prog="python -m dev.page", description=__doc__)
    parser.add_argument("--serve", type=int, metavar="PORT", help="serve it instead; 0: any port")
    parser.add_argument("--output", type=Path, default=PICTURE)
    parser.add_argument("--width", type=int, default=1400)
    parser.add_argument("--height", type=int, default=0, help="0: as high as the page is")
    parser.add_argument("--scheme", choices=["light", "dark"], default="light")
    given = parser.parse_args()
    with suppress(KeyboardInterrupt):
        if given.serve is not None:
            asyncio.run(stay(given.serve))
        else:
            with Browser(ensure_chromium()) as browser:
                asyncio.run(take(browser, given.output, given.width, given.height, given.scheme))
    return 0


if __name__ == "__main__":
    sys.exit(main())
