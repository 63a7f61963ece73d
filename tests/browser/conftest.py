"""A real browser without a window; installed on first use."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dev.browser import Browser, Tab, ensure_chromium
from dev.cluster import HarnessError
from dev.page.showing import Shown, shown


@pytest.fixture(scope="session")
def chromium() -> Path:
    """Where it is. On a machine that cannot have it, its tests are skipped; in .ci/run that is a failure."""
    try:
        return ensure_chromium()
    except HarnessError as missing:
        if os.environ.get("TORPOR_CI"):
            raise
        pytest.skip(f"the page is not looked at with a real browser here: {missing}")


@pytest.fixture
async def page() -> AsyncIterator[Shown]:
    async with shown() as served:
        yield served


@pytest.fixture
async def tab(chromium: Path) -> AsyncIterator[Tab]:
    async with Browser(chromium) as browser, browser.tab() as opened:
        yield opened
