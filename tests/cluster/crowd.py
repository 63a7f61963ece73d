"""Many clients in one moment."""

import asyncio
import json
from urllib.parse import urlsplit

from tests.cluster.space import HELLO, Space

PATIENCE_SECONDS = 120


class _Client(asyncio.Protocol):
    """One client on a connection of its own that ends with its answer."""

    def __init__(self) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._came = bytearray()

    def data_received(self, data: bytes) -> None:
        self._came += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set_result(None)

    @property
    def status(self) -> int:
        """What the first line of the answer says; 0 without one."""
        words = bytes(self._came).partition(b"\r\n")[0].split()
        return int(words[1]) if len(words) > 1 else 0


async def ask_all(space: Space, name: str, doors: list[str], count: int) -> list[int]:
    """Send `count` requests at once, in turn to each door; return their statuses.

    All connections stand before the first request is sent, and the requests go out in one pass: a client library would
    take milliseconds for each, and whoever reads them would see a stream and no herd.
    """
    asked = {"model": f"{space.name}/{name}", "messages": HELLO, "max_tokens": 4}
    loop, ways = asyncio.get_running_loop(), list[tuple[asyncio.Transport, _Client, bytes]]()
    for n in range(count):
        door = urlsplit(doors[n % len(doors)])
        way, client = await loop.create_connection(_Client, door.hostname or "", door.port or 80)
        ways.append((way, client, _request(door.netloc, asked)))
    for way, _, request in ways:
        way.write(request)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await asyncio.gather(*(client.ended for _, client, _ in ways))
    return [client.status for _, client, _ in ways]


def _request(host: str, asked: dict[str, object]) -> bytes:
    body = json.dumps(asked).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body
