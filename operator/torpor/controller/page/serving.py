"""The page's own port: `/` and `/endpoints.json`, to be read and nothing else.

The port is bound to the pod's loopback address unless somebody exposes it: `kubectl port-forward` reaches it there and
nothing else does. A page of another site could still lead a browser here under a name of its own (DNS rebinding), so
only the names of this machine are answered.
"""

from __future__ import annotations

import gzip
import ipaddress
import logging
import re

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from torpor import clock
from torpor.controller.page.listing import Listing
from torpor.controller.page.sheet import make_sheet

log = logging.getLogger(__name__)

OWN_NAME = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)
"""What a browser calls a port that was forwarded to this machine."""
ALWAYS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


async def serve(host: str, port: int, listing: Listing) -> web.AppRunner:
    """Serve until the returned runner is cleaned up; a port that is taken is told and costs the page only."""
    app = web.Application(middlewares=[_guard(is_loopback(host))])
    app.router.add_get("/", _page())
    app.router.add_get("/endpoints.json", _endpoints(listing))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        log.warning("the page is not served: %s", error)
    return runner


def is_loopback(host: str) -> bool:
    """Whether only this machine, or this pod, reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _guard(own_names_only: bool) -> Middleware:
    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        host = request.headers.get("Host", "")
        if own_names_only and not OWN_NAME.fullmatch(host):
            said = ascii(host)[:100]
            answer: web.StreamResponse = web.Response(
                status=421,
                text=f"this page answers to localhost, 127.0.0.1 and [::1], not to {said}\n",
            )
        else:
            try:
                answer = await handler(request)
            except web.HTTPException as refused:
                answer = web.Response(status=refused.status, text=f"{refused.reason}\n")
                if "Allow" in refused.headers:
                    answer.headers["Allow"] = refused.headers["Allow"]
        answer.headers.update(ALWAYS)
        answer.headers.setdefault("Content-Security-Policy", "default-src 'none'")
        return answer

    return guard


def _page() -> Handler:
    sheet = make_sheet()
    plain = sheet.html.encode()
    packed = gzip.compress(plain, 9, mtime=0)

    async def page(request: web.Request) -> web.Response:
        answer = _packed_or_plain(request, plain, packed)
        answer.content_type, answer.charset = "text/html", "utf-8"
        answer.headers["Content-Security-Policy"] = sheet.policy
        return answer

    return page


def _endpoints(listing: Listing) -> Handler:
    async def endpoints(request: web.Request) -> web.Response:
        now_ms = clock.now_ms()
        told = listing.answer(now_ms)
        if told.tag in request.headers.get("If-None-Match", ""):
            answer = web.Response(status=304)
        else:
            answer = _packed_or_plain(request, told.body, told.packed)
            answer.content_type = "application/json"
        answer.headers["ETag"] = told.tag
        # The browser's clock may be off, and what a second costs is counted from the time of the cluster.
        answer.headers["Torpor-Now-Ms"] = str(now_ms)
        if not listing.leads:
            # A Service leads to any of the controllers: on a new connection perhaps to the one that leads.
            answer.force_close()
        return answer

    return endpoints


def _packed_or_plain(request: web.Request, plain: bytes, packed: bytes) -> web.Response:
    fits = "gzip" in request.headers.get("Accept-Encoding", "")
    answer = web.Response(body=packed if fits else plain)
    if fits:
        answer.headers["Content-Encoding"] = "gzip"
    answer.headers["Vary"] = "Accept-Encoding"
    return answer
