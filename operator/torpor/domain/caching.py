"""What the nodes' caches hold for whom: what must not be evicted, how recently it was used, what is garbage.

Pure bookkeeping over what the controller sees: it alone knows which engines run where, and which endpoints exist.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torpor.domain.prewarmjobs import CLAIM


@dataclass(frozen=True, slots=True)
class Holding:
    """One endpoint's weights: hashes of model, draft and adapters, and whether they are pinned."""

    label: str
    """The hash that names them together, and the node's label."""
    parts: tuple[str, ...]
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class Running:
    """An engine's pod that lives: where (None = nowhere yet) and with which weights."""

    node: str | None
    parts: tuple[str, ...]


def kept_on(node: str, holdings: Iterable[Holding], running: Iterable[Running]) -> tuple[str, ...]:
    """Return the hashes that must stay on a node: what is pinned, what runs there, what may be about to run there."""
    kept = {part for holding in holdings if holding.pinned for part in holding.parts}
    everywhere = node == CLAIM  # engines on all nodes read the one claim
    kept |= {p for pod in running if everywhere or pod.node in (None, node) for p in pod.parts}
    return tuple(sorted(kept))


def used_at_all(holdings: Iterable[Holding], running: Iterable[Running]) -> tuple[str, ...]:
    """Return the hashes that some endpoint or some pod still stands for; everything else on a node is garbage."""
    used = {part for holding in holdings for part in holding.parts}
    used |= {part for pod in running for part in pod.parts}
    return tuple(sorted(used))


def labels_of(evicted: str, holdings: Iterable[Holding]) -> tuple[str, ...]:
    """Return the names of the bundles that are no longer whole on a node once *evicted* has left it."""
    return tuple(sorted({h.label for h in holdings if evicted in h.parts} | {evicted}))


def last_use_ms(created_ms: int, last_wake_ms: int | None, alive: bool, now_ms: int) -> int:
    """Return when an engine last started with the weights, which ranks them among others on a node.

    1 one runs or starts → now; 2 one has run → its start; 3 none ever has → the endpoint's creation: somebody who has
    just applied it will ask soon.
    """
    if alive:
        return now_ms
    return max(created_ms, last_wake_ms or 0)
