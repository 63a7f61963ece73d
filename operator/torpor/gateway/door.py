"""The public port: which path means what, and the whole chain that a request goes through."""

from __future__ import annotations

import asyncio
import json
import logging

from torpor.domain.refusals import starting
from torpor.domain.waitroom import Refusal
from torpor.gateway import openai
from torpor.gateway.absent import explain_absence
from torpor.gateway.accesslog import AccessLog, Visit
from torpor.gateway.asking import read_ask
from torpor.gateway.catalogue import Entry
from torpor.gateway.confirming import Confirmer
from torpor.gateway.directory import EVERYTHING, Scope, read_digest, uninvited
from torpor.gateway.exchange import Exchange
from torpor.gateway.hall import Hall
from torpor.gateway.holding import Holding, Holdings
from torpor.gateway.replies import (
    REQUEST_ID,
    name_request,
    refusal_parts,
    send_json,
    send_refusal,
)
from torpor.gateway.requestid import RequestIds
from torpor.gateway.tally import CLIENT_LEFT
from torpor.gateway.unpacking import Unpacker, find_unpacker
from torpor.gateway.upstream import Upstream
from torpor.gateway.wire.clients import Answering, Handler
from torpor.gateway.wire.requests import BadBody, Request
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


class Door:
    """Answers every request on the public port."""

    def __init__(
        self,
        hall: Hall,
        confirmer: Confirmer,
        upstream: Upstream,
        settings: GatewaySettings,
        access_log: AccessLog | None,
    ) -> None:
        """Stand open; `closing` asks clients to come back on another connection."""
        self.closing = False
        self.active = 0
        self._hall = hall
        self._confirmer = confirmer
        self._upstream = upstream
        self._settings = settings
        self._access_log = access_log
        self._ids = RequestIds()
        self.holdings = Holdings(settings.max_held_bytes)

    def beside(self, key: str) -> Handler:
        """Return who answers at the port of one direct endpoint, `namespace/name`: as everywhere, but for it alone.

        Every answer closes its connection, so that the client's next one leads to the engine once that is awake.
        """

        def handle(request: Request) -> Answering:
            request.only = key
            return self.handle(request)

        return handle

    def outside(self, request: Request) -> Answering:
        """Answer one request at the port for the world outside the cluster: endpoints without keys are not there."""
        request.outside = True
        return self.handle(request)

    def handle(self, request: Request) -> Answering:
        """Answer one request, whatever happens."""
        name_request(request, self._ids.of(request.headers.get(REQUEST_ID)))
        request.reply.closes |= self.closing or request.only is not None
        if self._access_log is None:
            return self._handle(request, None)
        return self._write_down(request, self._access_log)

    async def _write_down(self, request: Request, access_log: AccessLog) -> None:
        visit = Visit()
        try:
            await self._handle(request, visit)
            if visit.status == CLIENT_LEFT and not visit.endpoint:
                visit.status = request.reply.status or CLIENT_LEFT
        finally:
            access_log.add(visit.line(request))

    async def _handle(self, request: Request, visit: Visit | None) -> None:
        self.active += 1
        try:
            if request.path in MODEL_PATHS and request.method == "POST":
                await self._ask(request, visit)
            else:
                self._answer(request)
        except Exception:
            log.exception("%s %s failed", request.method, request.path)
            bug = Refusal(500, "internal_error", "the gateway failed; its log says why")
            if request.reply.begun:
                request.reply.abort()
            else:
                self._turn_away(request, bug, closing=True)
        finally:
            self.active -= 1

    def complain(self, refusal: Refusal) -> tuple[list[bytes], bytes]:
        """Return what somebody is told whose request could not even be read."""
        self._hall.tools.metrics.turned_away(refusal.status)
        return refusal_parts(refusal)

    def _answer(self, request: Request) -> None:
        """Answer what needs no engine."""
        path = request.path
        if path in MODEL_PATHS:
            words = f"{path} takes only POST"
            self._turn_away(request, Refusal(405, "method_not_allowed", words))
            return
        if request.method in ("GET", "HEAD"):
            if path == MODELS or path.startswith(MODELS + "/"):
                self._list(request, path[len(MODELS) + 1 :])
                return
            if path == "/health":
                request.reply.whole(200, [], b"")
                return
        self._turn_away(request, explain_absence(request.method, path))

    async def _ask(self, request: Request, visit: Visit | None) -> None:
        """Take a request that names a model through the chain: key, body, model, waiting room, engine."""
        digest, scope = _caller(request)
        hall = self._hall
        if not hall.directory.welcomes(digest, scope):
            self._turn_away(request, uninvited(digest))
            return
        with Holding(self.holdings) as holding:
            body = self._take(request, holding)
            if body is None:
                body = await self._read(request, holding)
            if isinstance(body, Refusal):
                self._turn_away(request, body)
                return
            ask = read_ask(request.path, request.headers.get(b"content-type"), body)
            del body  # nothing but what was asked keeps it
            if isinstance(ask, Refusal):
                self._turn_away(request, ask)
                return
            if visit is not None:
                visit.model = ask.model
            entry = hall.directory.resolve(ask.model, digest, scope)
            if isinstance(entry, Entry) and hall.desks[entry.key].room.refusal is not None:
                await self._confirmer.confirm(entry)  # before its status refuses anybody
                entry = hall.directory.resolve(ask.model, digest, scope)
            if isinstance(entry, Refusal):
                unknown = entry.status == 404 and not hall.endpoints.heard
                self._turn_away(request, starting() if unknown else entry)
                return
            way = (hall.desks[entry.key], self._upstream, self._settings)
            await Exchange(request, ask, digest, holding, *way, visit=visit).run()

    def _take(self, request: Request, holding: Holding) -> bytes | Refusal | None:
        """Return the body, which must be known before its model is; None if it takes time to have it."""
        if not request.complete or request.headers.has(b"content-encoding"):
            return None
        body, limit = request.take(), self._settings.max_body_bytes
        return _too_large(limit) if len(body) > limit else holding.grow(len(body)) or body

    async def _read(self, request: Request, holding: Holding) -> bytes | Refusal:
        """Return the body once it is there; bounded in bytes and in time."""
        limit = self._settings.max_body_bytes
        if (request.length or 0) > limit:
            return _too_large(limit)
        unpacker = find_unpacker(request.headers.get(b"content-encoding"), limit)
        if isinstance(unpacker, Refusal):
            return unpacker
        if request.awaits_go:
            request.say_go()
        try:
            async with asyncio.timeout(self._settings.body_timeout):
                return await self._gather(request, holding, unpacker)
        except TimeoutError:
            seconds = self._settings.body_timeout
            return Refusal(408, "body_timeout", f"The body did not arrive within {seconds:g} s")
        except BadBody as error:
            return Refusal(400, "invalid_body", f"The body cannot be read: {error}")

    async def _gather(
        self, request: Request, holding: Holding, unpacker: Unpacker | None
    ) -> bytes | Refusal:
        limit, parts = self._settings.max_body_bytes, list[bytes]()
        while part := await request.chunk():
            if unpacker is not None:
                part = unpacker.unpack(part)
            if holding.size + len(part) > limit:
                return _too_large(limit)
            if (full := holding.grow(len(part))) is not None:
                return full
            parts.append(part)
        if unpacker is not None:
            unpacker.finish()
        return b"".join(parts)

    def _list(self, request: Request, name: str) -> None:
        """Answer `/v1/models`, which never wakes anything and tells only what the key may use."""
        digest, scope = _caller(request)
        if not name:
            answer = openai.model_list(self._hall.directory.listing(digest, scope))
            send_json(request, json.dumps(answer).encode())
            return
        entry = self._hall.directory.resolve(name, digest, scope)
        if isinstance(entry, Refusal):
            self._turn_away(request, entry)
        else:
            send_json(request, json.dumps(openai.model_object(name, entry)).encode())

    def _turn_away(self, request: Request, refusal: Refusal, closing: bool = False) -> None:
        """Refuse a request before it has an endpoint; one whose body is not read whole ends its connection."""
        self._hall.tools.metrics.turned_away(refusal.status)
        send_refusal(request, refusal, closing or not request.complete)


def _caller(request: Request) -> tuple[bytes | None, Scope]:
    """Return the digest of a request's key, and what it may mean."""
    digest = read_digest(request.headers.get(b"authorization"))
    if request.only is None and not request.outside:
        return digest, EVERYTHING
    return digest, Scope(request.only, request.outside)


def _too_large(limit: int) -> Refusal:
    return Refusal(413, "body_too_large", f"The body has more than {limit} bytes")
