"""Take the weights labels off nodes once no endpoint uses those weights, so that nothing is left behind."""

from __future__ import annotations

import asyncio
import logging

from torpor.cluster.objects import Objects
from torpor.controller.seen import Seen
from torpor.errors import TorporError
from torpor.manifests import names

log = logging.getLogger(__name__)

PERIOD_SECONDS = 2.0


class NodeLabels:
    """Compares the labels of all nodes with the weights of all endpoints."""

    def __init__(self, seen: Seen, objects: Objects) -> None:
        """Compare within *seen*, write with *objects*."""
        self._seen = seen
        self._objects = objects
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
        """Remove each label that no endpoint stood behind in two sweeps: one may fall between two status writes."""
        used = {
            names.WEIGHTS_NODE_PREFIX
            + str(((obj.get("status") or {}).get("weights") or {}).get("hash"))
            for obj in self._seen.endpoints.values()
        }
        found: set[tuple[str, str]] = set()
        for name, node in list(self._seen.nodes.items()):
            labels = node["metadata"].get("labels") or {}
            found |= {
                (name, k)
                for k in labels
                if k.startswith(names.WEIGHTS_NODE_PREFIX) and k not in used
            }
        for name, key in found & self._suspects:
            try:
                await self._objects.label_node(name, {key: None})
                log.info("node %s: no endpoint uses %s any more", name, key)
            except TorporError as error:
                log.warning("node %s: %s", name, error.message)
        self._suspects = found
