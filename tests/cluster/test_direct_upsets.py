"""A direct endpoint while what leads to it is replaced or missing: its own address goes on answering."""

import asyncio
from collections import Counter

import pytest

from bench.doors.outages import no_controllers, restart_gateways
from tests.cluster.space import Space
from tests.cluster.test_direct import client_of, start_direct

pytestmark = pytest.mark.cluster


def test_its_address_answers_while_gateways_roll_out_and_without_controllers(space: Space) -> None:
    start_direct(space, "steady")
    looks, woken, later = asyncio.run(_play(space))
    print(f"looks during the roll-out {dict(looks)}; without controllers {woken}; later {later}")
    assert set(looks) == {200}
    assert woken == [200, 200]
    assert later == [200]


async def _play(space: Space) -> tuple[Counter[int], list[int], list[int]]:
    async with client_of(space, "steady") as client:
        stop = asyncio.Event()
        looking = asyncio.create_task(client.look_on(stop))
        await asyncio.to_thread(restart_gateways, space)
        await asyncio.sleep(2)
        stop.set()
        await looking
        looks = Counter(look.status for look in client.looks)
        assert not any(look.engine for look in client.looks)
        with no_controllers(space):
            await client.chat()  # held by a gateway, which wakes it; nobody leads the Service on
            await client.chat()
            woken, client.statuses = client.statuses, []
        stop.clear()
        looking = asyncio.create_task(client.look_on(stop))
        await client.chat()
        await client.led(engine=True, seconds=60)
        stop.set()
        await looking
        return looks, woken, client.statuses
