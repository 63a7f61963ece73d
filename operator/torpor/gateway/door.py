"""The public port: which path means what, and the whole chain that a request goes through."""

from __future__ import annotations

import asyncio
import json
import logging

from aiohttp import web

from torpor.domain.refusals import starting
from torpor.domain.waitroom import Refusal
from torpor.gateway import openai
from torpor.gateway.asking import Ask, read_ask
from torpor.gateway.catalogue import Entry
from torpor.gateway.confirming import Confirmer
from torpor.gateway.directory import read_digest, uninvited
from torpor.gateway.exchange import Exchange
from torpor.gateway.hall import Hall
from torpor.gateway.holding import Holding, Holdings
from torpor.gateway.listening import Handler
from torpor.gateway.replies import JSON, send_refusal
from torpor.gateway.tally import CLIENT_LEFT
from torpor.gateway.upstream import Upstream
from torpor.settings.programs import GatewaySettings

log = logging.getLogger(__name__)

MODEL_PATHS = frozenset(
    {
        "/classify",
        "/detokenize",
        "/pooling",
        "/rerank",
        "/score",
        "/tokenize",
        "/v1/audio/speech",
        "/v1/audio/transcriptions",
        "/v1/audio/translations",
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/images/edits",
        "/v1/images/generations",
        "/v1/messages",
        "/v1/messages/count_tokens",
        "/v1/rerank",
        "/v1/responses",
        "/v1/score",
        "/v2/rerank",
    }
)
"""Paths that name a model in their body and are passed on to its engine."""
MODELS = "/v1/models"
_ONLY = web.RequestKey("only", str)
"""Of a request: `namespace/name` of the one endpoint that it may mean, by the port that it came in at."""


class Door:
    """Answers every request on the public port."""

    def __init__(
        self, hall: Hall, confirmer: Confirmer, upstream: Upstream, settings: GatewaySettings
    ) -> None:
        """Stand open; `closing` asks clients to come back on another connection."""
        self.closing = False
        self.active = 0
        self._hall = hall
        self._confirmer = confirmer
        self._upstream = upstream
        self._settings = settings
        self._holdings = Holdings(settings.max_held_bytes)

    def beside(self, key: str) -> Handler:
        """Return who answers at the port of one direct endpoint, `namespace/name`: as everywhere, but for it alone.

        Every answer closes its connection, so that the client's next one leads to the engine once that is awake.
        """

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            request[_ONLY] = key
            return await self.handle(request)

        return handle

    def _closes(self, request: web.BaseRequest) -> bool:
        return self.closing or _ONLY in request

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Return the response to one request, whatever happens."""
        self.active += 1
        try:
            reply = await self._answer(request)
            if self._closes(request) and not reply.prepared:
                reply.force_close()
            return reply
        except ConnectionError:
            return web.Response(status=CLIENT_LEFT)  # nobody reads it
        except Exception:
            log.exception("%s %s failed", request.method, request.path)
            bug = Refusal(500, "internal_error", "the gateway failed; its log says why")
            return await self._turn_away(request, bug, closing=True)
        finally:
            self.active -= 1

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        if path in MODEL_PATHS:
            if request.method == "POST":
                return await self._ask(request, path)
            words = f"{path} takes only POST"
            return await self._turn_away(request, Refusal(405, "method_not_allowed", words))
        if request.method == "GET":
            if path == MODELS or path.startswith(MODELS + "/"):
                return await self._list(request, path[len(MODELS) + 1 :])
            if path == "/health":
                return web.Response()
        words = f"There is no {request.method} {path} here; {MODELS} lists the models"
        return await self._turn_away(request, Refusal(404, "unknown_url", words))

    async def _ask(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        """Take a request that names a model through the chain: key, body, model, waiting room, engine."""
        digest = read_digest(request.headers.get("Authorization"))
        if not self._hall.directory.welcomes(digest):
            unread = not request.content.is_eof()
            return await self._turn_away(request, uninvited(digest), closing=unread)
        with Holding(self._holdings) as holding:
            ask = await self._listen(request, path, holding)
            if isinstance(ask, Refusal):
                unread = not request.content.is_eof()
                return await self._turn_away(request, ask, closing=unread)
            entry = await self._find(ask.model, digest, request.get(_ONLY))
            if isinstance(entry, Refusal):
                unknown = entry.status == 404 and not self._hall.endpoints.heard
                return await self._turn_away(request, starting() if unknown else entry)
            desk, settings, closing = self._hall.desk(entry), self._settings, self._closes(request)
            exchange = Exchange(
                request, ask, digest, holding, desk, self._upstream, settings, closing=closing
            )
            return await exchange.run()

    async def _find(self, model: str, digest: bytes | None, only: str | None) -> Entry | Refusal:
        """Return the endpoint that a name means; before its status refuses anybody, it is read once more."""
        directory = self._hall.directory
        entry = directory.resolve(model, digest, only)
        if isinstance(entry, Refusal) or self._hall.desk(entry).room.refusal is None:
            return entry
        await self._confirmer.confirm(entry)
        return directory.resolve(model, digest, only)

    async def _listen(self, request: web.BaseRequest, path: str, holding: Holding) -> Ask | Refusal:
        """Return what the request asks for, which its body says; nothing else keeps the body."""
        body = await self._read(request, holding)
        if isinstance(body, Refusal):
            return body
        return read_ask(path, request.headers.get("Content-Type", ""), body)

    async def _read(self, request: web.BaseRequest, holding: Holding) -> bytes | Refusal:
        """Return the body, which must be known before its model is; bounded in bytes and in time."""
        limit, content = self._settings.max_body_bytes, request.content
        too_large = Refusal(413, "body_too_large", f"The body has more than {limit} bytes")
        if (request.content_length or 0) > limit:
            return too_large
        expects = request.headers.get("Expect", "").lower() == "100-continue"
        if expects and request.transport and not content.is_eof():
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        parts: list[bytes] = []
        try:
            async with asyncio.timeout(self._settings.body_timeout):
                while part := await content.readany():
                    if holding.size + len(part) > limit:
                        return too_large
                    if (full := holding.grow(len(part))) is not None:
                        return full
                    parts.append(part)
        except TimeoutError:
            seconds = self._settings.body_timeout
            return Refusal(408, "body_timeout", f"The body did not arrive within {seconds:g} s")
        except web.RequestPayloadError as error:
            return Refusal(400, "invalid_body", f"The body cannot be read: {error}")
        return b"".join(parts)

    async def _list(self, request: web.BaseRequest, name: str) -> web.StreamResponse:
        """Answer `/v1/models`, which never wakes anything and tells only what the key may use."""
        digest, only = read_digest(request.headers.get("Authorization")), request.get(_ONLY)
        if not name:
            answer = openai.model_list(self._hall.directory.listing(digest, only))
            return web.Response(text=json.dumps(answer), content_type=JSON)
        entry = self._hall.directory.resolve(name, digest, only)
        if isinstance(entry, Refusal):
            return await self._turn_away(request, entry)
        return web.Response(text=json.dumps(openai.model_object(name, entry)), content_type=JSON)

    async def _turn_away(
        self, request: web.BaseRequest, refusal: Refusal, closing: bool = False
    ) -> web.StreamResponse:
        """Refuse a request before it has an endpoint."""
        self._hall.tools.metrics.turned_away(refusal.status)
        return await send_refusal(request, refusal, closing or self._closes(request))
