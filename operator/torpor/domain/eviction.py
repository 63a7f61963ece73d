"""Who goes when the cache of a node is full: values in, victims or a sentence out.

1. What nobody works on and no engine can mount (downloads whose process died, folders without a marker) goes
   first, oldest first; no list is needed for it, at worst its bytes are moved again.
2. Then copies, least recently used first, where used means: an engine started with it. As few as will do.
3. A copy stays if it (a) is locked, (b) runs or is pinned says the controller's list, (c) has no list to be
   judged by, (d) was used or published since that list was made, (e) was used at the same time
   as the model that needs the room, or later. By (e) each eviction replaces a copy by one with a later use,
   so endpoints cannot evict each other in turns.

A model that no engine ever started is ranked by when its endpoint was created; rank 0 evicts no copy.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from torpor.domain.fetching import FetchReason, Refusal, format_bytes, refuse_size

SKEW_SECONDS = 30
"""The controller's clock may be ahead of the node's by so much: what was used since then is not in its list.

Nothing else is needed to protect an engine between its init container's hit and its own view of the files: a pod that
was made before the list is in it, and one made later has its hit after it.
"""


class Stay(StrEnum):
    """Why something may not be evicted; the value continues a sentence."""

    BUSY = "being fetched or checked"
    KEPT = "running or pinned"
    UNLISTED = "possibly running"
    FRESH = "used or fetched since the list of who runs was made"
    RECENT = "used as recently as this model"


@dataclass(frozen=True, slots=True)
class Entry:
    """One folder of the cache; times are seconds since the epoch."""

    hash: str
    kind: str
    """Folder that it lies in: `models` or `partial`."""
    bytes: int
    last_used: int
    """Last engine start; of what is no copy, the last write."""
    published: int | None = None
    """None: no copy."""
    busy: bool = False
    """Locked by another process."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What may go for a model; times are seconds since the epoch."""

    budget_bytes: int
    """Most that the cache may hold; 0: as much as the disk has free."""
    last_use: int
    """Last engine start with the model that needs the room."""
    keep: frozenset[str]
    """Hashes that run or are pinned on this node."""
    keep_as_of: int
    """When that list was made; 0: there is none."""


@dataclass(frozen=True, slots=True)
class Need:
    """Room for one model."""

    source: str
    """For the message."""
    total_bytes: int
    own_bytes: int
    """What an earlier try of it holds already, and will use."""
    other_bytes: int
    """What the cache holds beside the entries."""
    free_bytes: int | None
    """What the disk has left; None where that is not known."""


def plan_eviction(
    need: Need, terms: Terms, entries: Sequence[Entry]
) -> tuple[Entry, ...] | Refusal:
    """Choose what to evict, in order, or say why there is no room. `entries` holds nothing of the model itself."""
    refusal = refuse_size(need.source, need.total_bytes, terms.budget_bytes, 0, None)
    if refusal is not None:
        return refusal
    shortage = _shortage(need, terms, entries)
    if shortage <= 0:
        return ()
    movable = sorted((entry for entry in entries if stay(entry, terms) is None), key=_turn)
    victims: list[Entry] = []
    for entry in movable:
        if _bytes(victims) < shortage:
            victims.append(entry)
    if _bytes(victims) < shortage:
        return _refuse(need, terms, entries)
    return _thin(victims, shortage)


def stay(entry: Entry, terms: Terms) -> Stay | None:
    """Why it may not be evicted; None when it may."""
    if entry.busy:
        return Stay.BUSY
    if entry.hash in terms.keep:
        return Stay.KEPT
    if entry.published is None:
        return None
    if terms.keep_as_of == 0:
        return Stay.UNLISTED
    touched = max(entry.last_used, entry.published)
    if touched >= terms.keep_as_of - SKEW_SECONDS:
        return Stay.FRESH
    return Stay.RECENT if entry.last_used >= terms.last_use else None


def may_collect(entry: Entry, keep: frozenset[str], keep_as_of: int) -> bool:
    """Whether something belongs to no endpoint any more: not in the list, and not newer than the list.

    With `keep_as_of` 0 the list is taken as of now. Clocks that differ do little harm here: what goes too early is
    fetched again, what stays too long makes room when it is needed.
    """
    if entry.busy or entry.hash in keep:
        return False
    if keep_as_of == 0 or entry.published is None:
        return True
    return max(entry.last_used, entry.published) < keep_as_of


def _would_fit(need: Need, terms: Terms, entries: Sequence[Entry]) -> bool:
    """Whether others alone are in the way: they may end, be used less recently, or yield to an engine that starts."""
    return _bytes(entries) >= _shortage(need, terms, entries)


def _turn(entry: Entry) -> tuple[bool, int, str]:
    return entry.published is not None, entry.last_used, entry.hash


def _bytes(entries: Iterable[Entry]) -> int:
    return sum(entry.bytes for entry in entries)


def _shortage(need: Need, terms: Terms, entries: Sequence[Entry]) -> int:
    used = _bytes(entries) + need.other_bytes
    over_budget = need.total_bytes + used - terms.budget_bytes if terms.budget_bytes else 0
    missing = max(0, need.total_bytes - need.own_bytes)
    over_disk = 0 if need.free_bytes is None else missing - need.free_bytes
    return max(over_budget, over_disk)


def _thin(victims: list[Entry], shortage: int) -> tuple[Entry, ...]:
    """Spare copies, the most recently used first, when a larger one alone makes the room."""
    kept = list(victims)
    for entry in reversed(victims):
        if entry.published is not None and _bytes(kept) - entry.bytes >= shortage:
            kept.remove(entry)
    return tuple(kept)


def _refuse(need: Need, terms: Terms, entries: Sequence[Entry]) -> Refusal:
    used = _bytes(entries) + need.other_bytes
    if terms.budget_bytes and need.total_bytes + used > terms.budget_bytes:
        limit = (
            f"other models use {format_bytes(used)} of the node's cache budget of "
            f"{format_bytes(terms.budget_bytes)}"
        )
    else:
        limit = f"the node's cache disk has {format_bytes(need.free_bytes or 0)} free"
    held: dict[Stay, list[Entry]] = {}
    for entry in entries:
        why = stay(entry, terms)
        if why is not None:
            held.setdefault(why, []).append(entry)
    reasons = ", ".join(
        f"{format_bytes(_bytes(held[why]))} in {len(held[why])} {why}"
        for why in Stay
        if why in held
    )
    tail = f"; of that may not be evicted: {reasons}" if reasons else "; there is nothing to evict"
    return Refusal(
        FetchReason.CACHE_FULL if _would_fit(need, terms, entries) else FetchReason.TOO_LARGE,
        f"{need.source} has {format_bytes(need.total_bytes)}, but {limit}{tail}",
        retryable=True,
    )
