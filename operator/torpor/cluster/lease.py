"""Leadership by a `coordination.k8s.io` Lease: one controller acts, the others wait.

The rules are those of client-go's leader election: a holder renews well before its time is up; who wants the Lease
waits until it has seen no renewal for the whole duration *by its own clock*, so that clock skew between nodes does not
matter; every write carries the resourceVersion, so two can never both win. A holder that cannot renew in time has lost
it and must end: `Lost` is raised, and the process is restarted by the kubelet.
"""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import aiohttp

from torpor import clock
from torpor.cluster.connect import Api

Json = dict[str, Any]
log = logging.getLogger(__name__)

_FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"
_UNREACHABLE = (aiohttp.ClientError, TimeoutError, OSError, ValueError)


@dataclass(frozen=True, slots=True)
class Pace:
    """The seconds of the rules; every candidate of one Lease should have the same."""

    duration: int = 12
    """How long a silent holder keeps the Lease: the longest time that nobody puts endpoints to sleep after a crash."""
    renew: float = 2.0
    """Pause between renewals; three may fail before the Lease is lost."""
    request: float = 4.0
    """Longest time for one request."""

    @property
    def deadline(self) -> float:
        """Seconds without a renewal after which a holder gives up: before anybody else may take the Lease."""
        return self.duration - self.renew


class Lost(Exception):
    """The Lease could not be renewed in time: somebody else may act now, so this process must not."""


class Lease:
    """One candidate's view of the Lease."""

    def __init__(
        self, api: Api, namespace: str, name: str, identity: str, pace: Pace | None = None
    ) -> None:
        """Compete for `namespace/name` as *identity*, which must be unique (the pod's name)."""
        self._pace = pace or Pace()
        self._api = api
        self._path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._name = name
        self._identity = identity
        self._seen: tuple[str, float] = ("", 0.0)
        self._holder = ""

    @property
    def holder(self) -> str:
        """Who held the Lease when it was last read; empty if nobody did."""
        return self._holder

    async def acquire(self) -> None:
        """Return once this process holds the Lease; wait as long as it takes."""
        while True:
            if await self._try():
                self._holder = self._identity
                break
            await asyncio.sleep(self._pace.renew / 2)
        log.info("holds the Lease %s", self._name)

    async def hold(self) -> None:
        """Renew until cancelled.

        Raises:
            Lost: No renewal succeeded within the Lease's duration, or somebody else holds it.
        """
        renewed = clock.monotonic()
        while True:
            await asyncio.sleep(self._pace.renew)
            began = clock.monotonic()
            # An attempt that hangs must not outlast the Lease: bounded by what is left of it.
            left = renewed + self._pace.deadline - began
            if await self._within(left):
                renewed = began
            elif self._holder not in ("", self._identity):
                raise Lost(f"the Lease {self._name} is held by {self._holder}")
            elif clock.monotonic() - renewed >= self._pace.deadline:
                raise Lost(f"the Lease {self._name} was not renewed for {self._pace.deadline:g} s")

    async def _within(self, seconds: float) -> bool:
        try:
            return await asyncio.wait_for(self._try(), seconds)
        except TimeoutError:
            return False

    async def release(self) -> None:
        """Give the Lease up, so that the next candidate need not wait for it to run out; best effort."""
        try:
            current = await self._read()
            if current is None or current["spec"].get("holderIdentity") != self._identity:
                return
            current["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
            await self._write("PUT", f"{self._path}/{self._name}", current)
        except _UNREACHABLE as error:
            log.warning(
                "lease %s: not given up: %s", self._name, str(error) or type(error).__name__
            )

    async def _try(self) -> bool:
        """Take or renew the Lease if it is free, ours, or silent for too long; False if not (or not reachable)."""
        try:
            current = await self._read()
            if current is None:
                return await self._write("POST", self._path, self._fresh())
            holder = current["spec"].get("holderIdentity")
            self._holder = holder or ""
            if not self._may_take(current):
                return False
            transitions = int(current["spec"].get("leaseTransitions") or 0)
            fresh = self._fresh()["spec"]
            if holder == self._identity:
                fresh = {"renewTime": fresh["renewTime"]}
            else:
                fresh["leaseTransitions"] = transitions + 1
            current["spec"] |= fresh
            return await self._write("PUT", f"{self._path}/{self._name}", current)
        except _UNREACHABLE as error:
            log.warning("lease %s: %s", self._name, str(error) or type(error).__name__)
            return False

    def _may_take(self, current: Json) -> bool:
        spec, version = current["spec"], current["metadata"]["resourceVersion"]
        if spec.get("holderIdentity") in (self._identity, "", None):
            return True
        if self._seen[0] != version:
            self._seen = (version, clock.monotonic())
        silent = clock.monotonic() - self._seen[1]
        return silent > float(spec.get("leaseDurationSeconds") or self._pace.duration)

    def _fresh(self) -> Json:
        now = _stamp(clock.now())
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._name},
            "spec": {
                "holderIdentity": self._identity,
                "leaseDurationSeconds": self._pace.duration,
                "acquireTime": now,
                "renewTime": now,
                "leaseTransitions": 0,
            },
        }

    async def _read(self) -> Json | None:
        timeout = aiohttp.ClientTimeout(total=self._pace.request)
        response = await self._api.send("GET", f"{self._path}/{self._name}", timeout=timeout)
        async with response:
            if response.status == 404:
                return None
            if response.status != 200:
                raise ValueError(f"the API server answered {response.status}")
            found: Json = json.loads(await response.read())
            found.setdefault("spec", {})  # the chart makes it empty
            return found

    async def _write(self, method: str, path: str, lease: Json) -> bool:
        timeout = aiohttp.ClientTimeout(total=self._pace.request)
        response = await self._api.send(method, path, body=lease, timeout=timeout)
        async with response:
            await response.read()
            return response.status in (200, 201)


def _stamp(instant: datetime) -> str:
    return instant.strftime(_FORMAT)
