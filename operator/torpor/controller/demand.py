"""Ask every gateway, once a second and for all endpoints at once, who waits and who is in flight."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from torpor import clock
from torpor.controller.polling import repeat
from torpor.controller.seen import Key, Seen
from torpor.controller.writing import moves
from torpor.domain.observation import Demand, GatewayReport, PodSeen, Tokens, WakeReport

Json = dict[str, Any]
log = logging.getLogger(__name__)

PERIOD_SECONDS = 1.0
TIMEOUT_SECONDS = 2.0
GATHER_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class Heard:
    """The last answer of one gateway, and whether the latest question was answered."""

    gateway: str
    report: Json
    answered: bool
    read: dict[tuple[str, str], GatewayReport] = field(default_factory=dict, compare=False)
    """What has been read out of it, by endpoint and uid: every pass asks, and the answer is the same."""

    def of(self, endpoint: str, uid: str) -> GatewayReport:
        """Return its word on one endpoint, as `report_of` reads it."""
        asked = (endpoint, uid)
        if asked in self.read:
            return self.read[asked]
        found = report_of(self.gateway, self.report, endpoint, uid)
        if endpoint in self.report.get("endpoints", {}):  # of a thousand that sleep nothing is kept
            self.read[asked] = found
        return found


class DemandPoller:
    """Keeps each gateway's last report; tells which endpoints changed."""

    def __init__(
        self,
        seen: Seen,
        touch: Callable[[Key], None],
        port: int,
        completed: Callable[[Key, Demand], Demand] = lambda _, demand: demand,
    ) -> None:
        """Ask the gateways of *seen* at *port*; call *touch* for each endpoint whose demand changed.

        *completed* adds to what gateways say of an endpoint what they cannot see.
        """
        self._completed = completed
        self._port = port
        self._seen = seen
        self._touch = touch
        self._heard: dict[str, Heard] = {}
        self._asking: asyncio.Task[None] | None = None
        self._client = httpx.AsyncClient(
            timeout=TIMEOUT_SECONDS,
            limits=httpx.Limits(max_connections=64),
            trust_env=False,
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),  # plain HTTP: nobody needs be trusted
        )

    async def run(self) -> None:
        """Poll until cancelled; a gateway that does not answer is remembered as such, never as zero."""
        await repeat(self._poll, PERIOD_SECONDS)

    async def _poll(self) -> None:
        heard, names = dict(self._heard), self._names()
        await self.ask()
        for key in self._changed(heard, names):
            self._touch(key)

    async def ask(self) -> None:
        """Ask every gateway now, all at once; used by the poll and right before an endpoint is put to sleep.

        Whoever asks within the same few milliseconds shares the answers: a hundred endpoints that fall asleep together
        are one question.
        """
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask_soon())
        await asyncio.shield(self._asking)

    async def _ask_soon(self) -> None:
        await asyncio.sleep(GATHER_SECONDS)
        self._asking = None  # who comes from here on needs a later answer
        pods = {
            pod["metadata"]["name"]: pod["status"]["podIP"]
            for pod in self._seen.gateway_pods(clock.now_ms())
        }
        answers = await asyncio.gather(*(self._read(name, ip) for name, ip in pods.items()))
        for name in [name for name in self._heard if name not in pods]:
            del self._heard[name]
        for name, answer in zip(pods, answers, strict=True):
            last = self._heard.get(name)
            report = _newer(last.report if last else {}, answer)
            self._heard[name] = Heard(name, report, answered=answer is not None)

    def demand(self, key: Key) -> Demand:
        """Return what is known of one endpoint; gateways that were never asked yet are unreachable."""
        return self._completed(key, self._demand(key, self._heard, self._names()))

    def doors(self, key: Key) -> dict[str, int]:
        """Return the port that each gateway has opened for one direct endpoint, by the gateway's name."""
        return _doors(self._heard, "/".join(key))

    def _names(self) -> list[str]:
        return [pod["metadata"]["name"] for pod in self._seen.gateway_pods(clock.now_ms())]

    def _changed(self, heard: Mapping[str, Heard], names: list[str]) -> list[Key]:
        """Return the endpoints whose demand is another one than by what was *heard* of those *names* before.

        Only those of which a gateway speaks are compared, so that a thousand that sleep cost nothing each second; and
        those that run, if others answer than before: sleep depends on nobody's word.
        """
        now = self._names()
        said = [
            report.report.get("endpoints", {})
            for report in (*heard.values(), *self._heard.values())
        ]
        spoken = {tuple(name.split("/", 1)) for endpoints in said for name in endpoints}
        keys = [key for key in self._seen.endpoints if key in spoken]
        if _answering(heard, names) != _answering(self._heard, now):
            keys += [
                key for key, obj in self._seen.endpoints.items() if moves(obj.get("status") or {})
            ]
        differing = {
            key
            for key in dict.fromkeys(keys)
            if _differs(self._demand(key, heard, names), self._demand(key, self._heard, now))
        }
        opened = {
            key
            for key in self._seen.direct()
            if _doors(heard, "/".join(key)) != _doors(self._heard, "/".join(key))
        }
        return [*differing | opened]

    def _demand(self, key: Key, heard_of: Mapping[str, Heard], names: list[str]) -> Demand:
        uid = str(self._seen.endpoints.get(key, {}).get("metadata", {}).get("uid", ""))
        reports, unreachable = [], []
        for name in names:
            heard = heard_of.get(name)
            if heard is None or not heard.answered:
                unreachable.append(name)
            if heard is not None and heard.report:
                reports.append(heard.of("/".join(key), uid))
        return Demand(tuple(reports), tuple(unreachable))

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def _read(self, name: str, ip: str) -> Json | None:
        host = f"[{ip}]" if ":" in ip else ip
        try:
            answer = await self._client.get(f"http://{host}:{self._port}/internal/v1/demand")
            answer.raise_for_status()
            report = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            log.debug("gateway %s: %s", name, error)
            return None
        # Anything else on that port is no gateway's word: silence, which never means idle.
        return report if isinstance(report, dict) and "asOfMs" in report else None


def _newer(last: Json, answer: Json | None) -> Json:
    """Answers may overtake each other: of one gateway process the later word counts."""
    if answer is None:
        return last
    same = last.get("startedAtMs") == answer.get("startedAtMs")
    return last if same and int(last.get("asOfMs", 0)) > int(answer["asOfMs"]) else answer


def report_of(gateway: str, report: Json, endpoint: str, uid: str = "") -> GatewayReport:
    """Return one gateway's word on one endpoint; an endpoint it does not list has no demand there.

    What it says of a namesake that was deleted (another *uid*) is not about this endpoint.
    """
    said = report.get("endpoints", {}).get(endpoint, {})
    if uid and said.get("uid") not in (None, uid):
        said = {}
    tokens = said.get("tokens") or {}
    return GatewayReport(
        gateway=gateway,
        as_of_ms=int(report.get("asOfMs", 0)),
        started_ms=int(report.get("startedAtMs", 0)),
        waiting=int(said.get("waiting", 0)),
        in_flight=int(said.get("inFlight", 0)),
        last_byte_ms=said.get("lastByteAtMs"),
        tokens=Tokens(*(int(tokens.get(kind, 0)) for kind in ("prompt", "completion", "cached"))),
        wakes=tuple(_wakes(said.get("wakes") or ())),
        pods=tuple(_pods(said.get("podsSeen") or {})),
        on_pods={
            uid: int(pod.get("inFlight") or 0) for uid, pod in (said.get("pods") or {}).items()
        },
        busy={
            uid: tuple((int(start), end) for start, end in pod.get("busy") or ())
            for uid, pod in (said.get("pods") or {}).items()
        },
    )


def _wakes(wakes: Iterable[Json]) -> Iterable[WakeReport]:
    for wake in wakes:
        yield WakeReport(
            at_ms=int(wake["atMs"]),
            patched_ms=wake.get("patchedMs"),
            pod_seen_ms=wake.get("podSeenMs"),
            healthy_ms=wake.get("healthyMs"),
            first_byte_ms=wake.get("firstByteMs"),
        )


def _pods(pods: dict[str, Json]) -> Iterable[PodSeen]:
    for uid, pod in pods.items():
        yield PodSeen(
            uid=uid,
            name=str(pod.get("name", "")),
            gpus=int(pod.get("gpus") or 0),
            gpu_class=str(pod.get("gpuClass") or ""),
            scheduled_ms=pod.get("scheduledAtMs"),
            first_ready_ms=pod.get("firstReadyAtMs"),
            deleted_ms=pod.get("deletedAtMs"),
            finished_ms=pod.get("finishedAtMs"),
            gone_ms=pod.get("goneAtMs"),
        )


def _doors(heard: Mapping[str, Heard], endpoint: str) -> dict[str, int]:
    said = {name: (one.report.get("doors") or {}).get(endpoint) for name, one in heard.items()}
    return {name: int(port) for name, port in said.items() if port}


def _answering(heard: Mapping[str, Heard], names: list[str]) -> dict[str, bool]:
    return {name: name in heard and heard[name].answered for name in names}


def _differs(old: Demand, new: Demand) -> bool:
    """Whether a decision could come out otherwise: numbers, last byte, or who answers; not the reports' own time."""
    return (
        old.waiting != new.waiting
        or old.in_flight != new.in_flight
        or old.last_byte_ms != new.last_byte_ms
        or old.unreachable != new.unreachable
        or len(old.reports) != len(new.reports)
        or _healthy(old) != _healthy(new)
    )


def _healthy(demand: Demand) -> int:
    return sum(wake.healthy_ms is not None for report in demand.reports for wake in report.wakes)
