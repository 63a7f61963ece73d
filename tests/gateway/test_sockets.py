"""Connections to engines end by themselves when the other side is silent."""

from __future__ import annotations

import socket

import pytest

from torpor.gateway.sockets import opener


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
@pytest.mark.parametrize(("silence", "probing"), [(20.0, (10, 5, 2)), (1.0, (1, 1, 2))])
def test_a_socket_gives_up_after_so_much_silence(
    family: int, silence: float, probing: tuple[int, int, int]
) -> None:
    with opener(silence)((family, socket.SOCK_STREAM, 0, "", ("::1", 1))) as made:
        options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        read = [made.getsockopt(socket.IPPROTO_TCP, option) for option in options]
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert tuple(read) == probing
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == silence * 1000
        assert made.getblocking() is False
