"""Connections to engines end by themselves when the other side is silent."""

from __future__ import annotations

import asyncio
import socket

import pytest

from tests.gateway.world import World
from torpor.gateway.wire.pool import EnginePool
from torpor.gateway.wire.silence import end_when_silent

OPTIONS = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
@pytest.mark.parametrize(("silence", "probing"), [(20.0, (10, 5, 2)), (1.0, (1, 1, 2))])
def test_a_socket_gives_up_after_so_much_silence(
    family: int, silence: float, probing: tuple[int, int, int]
) -> None:
    with socket.socket(family) as made:
        end_when_silent(made, silence)
        read = [made.getsockopt(socket.IPPROTO_TCP, option) for option in OPTIONS]
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert tuple(read) == probing
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == silence * 1000


async def test_every_connection_of_the_pool_does(world: World) -> None:
    engine = await world.engine()
    pool = EnginePool(idle_timeout=3.0, silence=8.0)
    address = f"127.0.0.1:{engine.port}"
    answer = await pool.send(address, b"GET /health HTTP/1.1\r\n", b"", 1.0, 5.0)
    await answer.read()
    (connection,) = pool._idle[address]
    made = connection.transport.get_extra_info("socket")
    assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 4
    assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    await pool.close()
    await asyncio.sleep(0)
