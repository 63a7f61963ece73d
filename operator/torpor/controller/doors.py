"""The Service of a direct endpoint, and the order in which the addresses behind it are written.

Where it leads is decided in `torpor.domain.leading`; here that is carried out: whoever is led to next is written first,
and only then whoever was is taken out. All that is remembered is in the cluster: the members and since when they are in
the slices, the gateways' port in the status.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from torpor import clock
from torpor.api.conditions import Reason
from torpor.api.endpoint import InferenceEndpoint
from torpor.api.status import DirectStatus
from torpor.cluster.objects import Missing
from torpor.controller.children import Children
from torpor.controller.demand import DemandPoller
from torpor.controller.picture import Picture
from torpor.controller.seen import Key, Seen
from torpor.domain.leading import Way, led_to, turn_ms
from torpor.domain.observation import Fault, PodSeen
from torpor.domain.scalingview import Decision
from torpor.errors import Stalled
from torpor.manifests import names
from torpor.manifests.direct import Member, engines_slice, gateways_slice, service

Json = dict[str, Any]
log = logging.getLogger(__name__)

_SLICES = "discovery.k8s.io/v1", "EndpointSlice"


class Doors:
    """Leads clients of direct endpoints; remembers only which ports it has given away and not written down yet."""

    def __init__(self, seen: Seen, children: Children, demand: DemandPoller) -> None:
        """Read from *seen*, write through *children*; gateways say by *demand* which ports they have opened."""
        self._seen = seen
        self._children = children
        self._demand = demand
        self._given: dict[Key, DirectStatus] = {}

    async def keep_service(self, key: Key, endpoint: InferenceEndpoint) -> None:
        """Make or correct the Service, or remove what is left of it when the endpoint is not direct any more.

        Raises:
            Stalled: Its name is taken, or no port of the gateways is left.
        """
        if self.given(key, endpoint) is None:
            await self._remove(key)
            return
        await self._children.keep(key, service(endpoint), lambda: self._seen.services.get(key))

    def given(self, key: Key, endpoint: InferenceEndpoint) -> DirectStatus | None:
        """Return the gateways' port for an endpoint, and since when it is direct; None if it is not.

        Raises:
            Stalled: There are more direct endpoints than ports.
        """
        if not endpoint.spec.access.direct:
            self._given.pop(key, None)
            return None
        for other in [other for other in self._given if other not in self._seen.endpoints]:
            del self._given[other]
        if key not in self._given:
            taken = set(self._taken(key))
            said = endpoint.status.direct
            if said is None or said.port in taken or said.port not in names.DIRECT_PORTS:
                said = DirectStatus(port=_free(taken), since_ms=clock.now_ms())
            self._given[key] = said
        return self._given[key]

    def way(self, key: Key) -> Way:
        """Return where the Service leads, as it was last written."""
        engines = self._seen.slice(key, names.ENGINES_SIDE)
        gateways = self._seen.slice(key, names.GATEWAYS_SIDE)
        return Way(_uids(engines), _since(engines), len(_uids(gateways)))

    async def lead(
        self, key: Key, endpoint: InferenceEndpoint, picture: Picture, decision: Decision
    ) -> tuple[int | None, Picture]:
        """Write where the Service leads now; return when that changes if nothing else happens (epoch ms)."""
        if picture.direct is None or key not in self._seen.services:
            return None, picture
        turn_ms = None
        try:
            turn_ms = await self._write(key, endpoint, picture, decision, picture.direct.port)
        except Missing:
            log.info("%s/%s: its namespace is going away", *key)
        except Stalled as error:
            refused = Fault(error.reason, error.message, retryable=False)
            picture = replace(picture, refused=picture.refused or refused)
        return turn_ms, replace(picture, way=self.way(key))

    async def _write(
        self,
        key: Key,
        endpoint: InferenceEndpoint,
        picture: Picture,
        decision: Decision,
        port: int,
    ) -> int | None:
        gateways, view, now_ms = self._gateways(key, port), picture.view(), clock.now_ms()
        pods = led_to(view, decision, len(gateways), now_ms)
        turn = turn_ms(view, decision)
        if pods:
            await self._write_engines(key, endpoint, pods, now_ms)
            await self._write_gateways(key, endpoint, [], port)
        else:
            await self._write_gateways(key, endpoint, gateways, port)
            await self._write_engines(key, endpoint, pods, now_ms)
        return turn if turn is not None and turn > now_ms else None

    async def _write_engines(
        self, key: Key, endpoint: InferenceEndpoint, pods: Iterable[PodSeen], now_ms: int
    ) -> None:
        members = [Member(pod.uid, pod.name, key[0], str(pod.ip), pod.node) for pod in pods]
        before = self._seen.slice(key, names.ENGINES_SIDE)
        same = before is not None and _uids(before) == frozenset(member.uid for member in members)
        since = (same and _since(before)) or now_ms
        if not same:
            log.info("%s/%s: its Service leads to %s", *key, _named(members) or "no engine")
        wanted = engines_slice(endpoint, members, since)
        await self._children.keep(key, wanted, lambda: self._seen.slice(key, names.ENGINES_SIDE))

    async def _write_gateways(
        self, key: Key, endpoint: InferenceEndpoint, members: list[Member], port: int
    ) -> None:
        if _uids(self._seen.slice(key, names.GATEWAYS_SIDE)) != frozenset(m.uid for m in members):
            log.info("%s/%s: its Service leads to %s", *key, _named(members) or "no gateway")
        wanted = gateways_slice(endpoint, members, port)
        await self._children.keep(key, wanted, lambda: self._seen.slice(key, names.GATEWAYS_SIDE))

    def _gateways(self, key: Key, port: int) -> list[Member]:
        """Gateways that are ready and listen for this endpoint: by their own word, or because they were led to before.

        A controller that has just started has not heard of any yet, and must not take away those there are.
        """
        before, doors = self._seen.slice(key, names.GATEWAYS_SIDE), self._demand.doors(key)
        led = _uids(before) if port in _ports(before) else frozenset[str]()
        return [
            Member(
                pod["metadata"]["uid"],
                pod["metadata"]["name"],
                pod["metadata"]["namespace"],
                pod["status"]["podIP"],
                (pod.get("spec") or {}).get("nodeName"),
            )
            for pod in self._seen.gateway_pods(clock.now_ms())
            if _takes_requests(pod)
            and (doors.get(pod["metadata"]["name"]) == port or pod["metadata"]["uid"] in led)
        ]

    def _taken(self, key: Key) -> Iterator[int]:
        """Ports of other endpoints, written down or not yet."""
        for other, obj in self._seen.endpoints.items():
            said = ((obj.get("status") or {}).get("direct") or {}).get("port")
            if other != key and said:
                yield int(said)
        for other, given in self._given.items():
            if other != key:
                yield given.port

    async def _remove(self, key: Key) -> None:
        if (there := self._seen.services.get(key)) is not None:
            await self._children.remove("v1", "Service", there)
        for side in (names.ENGINES_SIDE, names.GATEWAYS_SIDE):
            if (slice_there := self._seen.slice(key, side)) is not None:
                await self._children.remove(*_SLICES, slice_there)


def _takes_requests(pod: Json) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    return ready and not pod["metadata"].get("deletionTimestamp")


def _free(taken: set[int]) -> int:
    for port in names.DIRECT_PORTS:
        if port not in taken:
            return port
    most = len(names.DIRECT_PORTS)
    message = f"{most} endpoints have access.direct, and gateways have no port for one more"
    raise Stalled(Reason.NAME_CONFLICT, f"{message}; switch it off elsewhere")


def _uids(found: Json | None) -> frozenset[str]:
    led = ((one.get("targetRef") or {}).get("uid") for one in (found or {}).get("endpoints") or ())
    return frozenset(uid for uid in led if uid)


def _ports(found: Json | None) -> set[int]:
    return {int(port["port"]) for port in (found or {}).get("ports") or ()}


def _since(found: Json | None) -> int:
    notes = ((found or {}).get("metadata") or {}).get("annotations") or {}
    text = str(notes.get(names.LED_SINCE) or "")
    return int(text) if text.isdecimal() else 0


def _named(members: Iterable[Member]) -> str:
    return ", ".join(sorted(member.name for member in members))
