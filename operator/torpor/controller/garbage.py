"""Clear the nodes of weights that no endpoint uses any more: their labels, and with a Job what lies on the disk.

A node's label stands for everything of those weights on its disk, finished or not, so labels alone say what is to be
cleared, whoever wrote them and whenever. The Job is made before the label goes: a controller that ends in between
leaves a label that the next one finds.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

from torpor import clock
from torpor.cluster.objects import Objects
from torpor.controller import provisioning
from torpor.controller.seen import Seen
from torpor.domain import caching
from torpor.errors import TorporError
from torpor.manifests import names
from torpor.manifests.prewarmjobs import Room, collect_job
from torpor.manifests.setting import Installation

Json = dict[str, Any]
log = logging.getLogger(__name__)

PERIOD_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Home:
    """torpor's own namespace, and the object in it with which the clearing Jobs leave when torpor is uninstalled."""

    namespace: str
    lease: str


class NodeLabels:
    """Compares the labels of all nodes with the weights of all endpoints."""

    def __init__(
        self, seen: Seen, objects: Objects, installation: Installation, home: Home
    ) -> None:
        """Compare within *seen*, write with *objects*; Jobs run at *home*."""
        self._seen = seen
        self._objects = objects
        self._installation = installation
        self._home = home
        self._suspects: set[tuple[str, str]] = set()

    async def run(self, listed: asyncio.Event, left: asyncio.Event) -> None:
        """Sweep until cancelled, once *listed* says that everything is known; at once when an endpoint has *left*.

        Whoever deletes the last endpoint may uninstall torpor in the next second, and with it the right to do this.
        """
        await listed.wait()
        while True:
            try:
                await asyncio.wait_for(left.wait(), PERIOD_SECONDS)
            except TimeoutError:
                await self.sweep()
            else:
                left.clear()
                await self.sweep_at_once()

    async def sweep_at_once(self) -> None:
        """Remove what nobody uses without waiting for a second look: the controller may end before it, and for good."""
        await self.sweep()
        await self.sweep()

    async def sweep(self) -> None:
        """Clear what no endpoint stood behind in two sweeps: one may fall between two status writes.

        A node that is down keeps its labels until it is back: nothing can be cleared there, nor must it be forgotten.
        """
        used = self._used_labels()
        found: set[tuple[str, str]] = set()
        for name, node in list(self._seen.nodes.items()):
            labels = node["metadata"].get("labels") or {}
            found |= {
                (name, k)
                for k in labels
                if k.startswith(names.WEIGHTS_NODE_PREFIX) and k not in used
            }
        sure = found & self._suspects
        for place in sorted({name for name, _ in sure if self._seen.is_ready(name)}):
            await self._clear(place, {key: None for name, key in sure if name == place})
        self._suspects = found

    def _used_labels(self) -> set[str]:
        """Labels of what endpoints have listed, and of what their Jobs and engines' pods still work with."""
        hashes = {holding.label for holding in provisioning.holdings(self._seen)}
        for obj in self._seen.at_work():
            hashes.add((obj["metadata"].get("annotations") or {}).get(names.WEIGHTS_HASH, ""))
        return {names.WEIGHTS_NODE_PREFIX + name for name in hashes}

    async def _clear(self, node: str, labels: dict[str, str | None]) -> None:
        try:
            await self._collect(node)
            await self._objects.label_node(node, labels)
            log.info("node %s: no endpoint uses %s any more", node, ", ".join(sorted(labels)))
        except TorporError as error:
            log.warning("node %s: %s", node, error.message)

    async def _collect(self, node: str) -> None:
        """Send a Job that empties the node's disk of everything but what is used."""
        held, live = provisioning.holdings(self._seen), provisioning.running(self._seen)
        lease = await self._objects.read(
            {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"namespace": self._home.namespace, "name": self._home.lease},
            }
        )
        owner = {
            "apiVersion": lease["apiVersion"],
            "kind": lease["kind"],
            "name": lease["metadata"]["name"],
            "uid": lease["metadata"]["uid"],
        }
        room = Room(caching.used_at_all(held, live), clock.now_ms() // 1000)
        job = collect_job(self._installation, self._home.namespace, node, room, owner)
        await self._objects.create(job, names.FIELD_MANAGER)
