from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession
from prometheus_client import CollectorRegistry, Counter, generate_latest

from torpor.controller.health import State, serve


class Page:
    def __init__(self, state: State, client: ClientSession) -> None:
        self.state = state
        self.client = client


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    registry, state = CollectorRegistry(), State()
    Counter("torpor_seen", "Shown.", registry=registry).inc(3)

    async def metrics() -> bytes:
        return generate_latest(registry)

    runner = await serve("127.0.0.1", 0, metrics, state)
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with ClientSession(url) as client:
        yield Page(state, client)
    await runner.cleanup()


async def test_a_standby_is_alive_and_ready(page: Page) -> None:
    for path in ("/healthz", "/readyz"):
        answer = await page.client.get(path)
        assert (answer.status, (await answer.json())["leader"]) == (200, False)


async def test_a_leader_is_ready_once_it_has_listed_the_cluster(page: Page) -> None:
    page.state.leads = True
    answer = await page.client.get("/readyz")
    assert answer.status == 503
    assert await answer.json() == {"leader": True, "missing": "listing the cluster"}
    assert (await page.client.get("/healthz")).status == 200  # listing is no reason to restart
    page.state.listed.set()
    answer = await page.client.get("/readyz")
    assert (answer.status, await answer.json()) == (200, {"leader": True, "missing": None})


async def test_the_instruments_are_shown(page: Page) -> None:
    answer = await page.client.get("/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert "torpor_seen_total 3.0" in await answer.text()
