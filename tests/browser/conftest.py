"""A real browser without a window; installed on first use."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator

import pytest

from dev.browser import Browser, Tab, ensure_chromium
from dev.cluster import HarnessError
from dev.page.showing import Shown, shown


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One for all tests. On a machine that cannot have it they are skipped; in .ci/run that is a failure."""
    try:
        program = ensure_chromium()
    except HarnessError as missing:
        if os.environ.get("TORPOR_CI"):
            raise
        pytest.skip(f"the page is not looked at with a real browser here: {missing}")
    with Browser(program) as browser:
        yield browser


@pytest.fixture
async def page() -> AsyncIterator[Shown]:
    async with shown() as served:
        yield served


@pytest.fixture
async def tab(chromium: Browser) -> AsyncIterator[Tab]:
    async with chromium.tab() as opened:
        yield opened
