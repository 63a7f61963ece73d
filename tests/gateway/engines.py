"""A tiny engine on a real socket that does what the test tells it to."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import web

Json = dict[str, Any]
FIXED_CHUNKS = [
    b'data: {"choices":[{"delta":{"content":"Hel"}}]}\n\n',
    'data: {"choices":[{"delta":{"content":"lö \\"usage\\" "}}]}\n\n'.encode(),
    b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n',
]
USAGE_CHUNK = (
    b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}}\n\n'
)
DONE = b"data: [DONE]\n\n"


class Engine:
    """Speaks as much of vLLM's API as a test needs."""

    def __init__(self, *names: str) -> None:
        self.names = list(names) or ["llama"]
        self.healthy = True
        self.gate: asyncio.Event | None = None
        """If set, answers wait for it (before their headers)."""
        self.between: asyncio.Event | None = None
        """If set, streams wait for it after their first chunk."""
        self.first = FIXED_CHUNKS[0]
        """The first chunk of a stream."""
        self.details: Json = {}
        """More members of the usage of answers that do not stream."""
        self.endless = False
        """Streams do not end, and come as fast as they are read."""
        self.sent = 0
        """Bytes of streams that do not end."""
        self.status = 200
        self.error: bytes | None = None
        self.break_after: int | None = None
        """Cut the connection after this many chunks (0: before the headers)."""
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.generated = 0
        """Requests that were for a model of its own."""
        self.left = 0
        """Requests whose client left before the answer was complete."""
        self.running = 0
        self.most = 0
        self.connections: set[Any] = set()
        self.port = 0
        self._runner: web.ServerRunner | None = None

    async def start(self, port: int = 0) -> Engine:
        server = web.Server(self._handle, access_log=None, handler_cancellation=True)
        self._runner = web.ServerRunner(server, shutdown_timeout=0.01)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        self.port = int(self._runner.addresses[0][1])
        return self

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.transport is not None:
            self.connections.add(request.transport.get_extra_info("peername"))
        if request.path == "/health":
            return web.Response(status=200 if self.healthy else 503)
        if request.path == "/v1/models":
            return web.json_response({"data": [{"id": name} for name in self.names]})
        body = await request.content.read()
        self.requests.append((request.path_qs, dict(request.headers), body))
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            return await self._answer(request, body)
        except (asyncio.CancelledError, ConnectionError):
            self.left += 1
            raise
        finally:
            self.running -= 1

    async def _answer(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        if self.gate is not None:
            await self.gate.wait()
        if self.break_after == 0:
            assert request.transport is not None
            request.transport.abort()
            raise ConnectionResetError
        if self.status != 200:
            headers = {"Content-Type": "application/json"}
            return web.Response(status=self.status, body=self.error, headers=headers)
        asked: Json = json.loads(body) if body.startswith(b"{") else {}
        if asked and asked["model"] not in self.names:
            error = {"message": f"The model `{asked['model']}` does not exist.", "code": 404}
            return web.json_response({"error": error}, status=404)
        self.generated += 1
        if not asked.get("stream"):
            usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
            usage |= self.details
            return web.json_response({"model": self.names[0], "usage": usage})
        chunks = [self.first, *FIXED_CHUNKS[1:]]
        if (asked.get("stream_options") or {}).get("include_usage"):
            chunks.append(USAGE_CHUNK)
        chunks.append(DONE)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        while self.endless:
            await response.write(FIXED_CHUNKS[0] * 100)
            self.sent += 100 * len(FIXED_CHUNKS[0])
        for number, chunk in enumerate(chunks):
            if number == self.break_after:
                assert request.transport is not None
                request.transport.abort()
                raise ConnectionResetError
            await response.write(chunk)
            if number == 0 and self.between is not None:
                await self.between.wait()
        return response
