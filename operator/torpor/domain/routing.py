"""Which pod gets a request: the one with the fewest in flight, or the one that has seen the beginning of its prompt.

An engine keeps what it computed for a prompt, and computes nothing anew for another one that begins in the same way. So
with `scaling.routing: prefix` the first bytes of a prompt choose the pod, by the highest of a score that each pod has
for them (rendezvous hashing): a pod that comes or goes moves the prompts that are its own, and no others. A pod that is
much busier than the average is passed over (bounded load): then it is the next highest score. docs/decisions/0011 has
the reasons, and what each costs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from operator import attrgetter
from typing import Any

from torpor.domain.waitroom import Pod

PREFIX_BYTES = 1024
"""Bytes of a prompt that count: about 250 tokens, sixteen blocks of vLLM's cache. Two conversations with different
beginnings differ in them, and the later turns of one do not."""
DEPTH = 6
"""Levels of lists and objects that are looked into: messages, their contents and the parts of those need four."""
_SPOKEN = ("instructions", "system", "messages", "input", "prompt")
"""Members of a body that the prompt is made from, in the order in which engines put them together."""
_IN_MESSAGE = ("role", "content", "text")
_MASK = (1 << 64) - 1
_load = attrgetter("in_flight")


def prefix_of(model: str, members: Mapping[str, Any]) -> int | None:
    """Return a number for the model and the beginning of the prompt in a body; None if there is no prompt."""
    text = bytearray()
    for name in _SPOKEN:
        if name in members:
            _add(members[name], text, DEPTH)
    if not text:
        return None
    digest = blake2b(model.encode("utf-8", "surrogatepass"), digest_size=8)
    digest.update(b"\0")
    digest.update(text[:PREFIX_BYTES])
    return int.from_bytes(digest.digest(), "big")


def seed_of(uid: str) -> int:
    """Return the number of a pod from which its scores are made."""
    return int.from_bytes(blake2b(uid.encode(), digest_size=8).digest(), "big")


def score(prefix: int, seed: int) -> int:
    """Return how much a pod is the place for a prompt; evenly spread, and the same at every gateway."""
    mixed = ((prefix ^ seed) * 0x9E3779B97F4A7C15) & _MASK
    return ((mixed ^ (mixed >> 32)) * 0xD6E8FEB86659FD93) & _MASK


def bound(in_flight: int, pods: int) -> int:
    """Return the most requests that one of *pods* may have: a quarter, and one, more than their average."""
    return -(-5 * in_flight // (4 * pods)) + 1


def emptiest(pods: Sequence[Pod], limit: int) -> Pod | None:
    """Return the first of those pods with the fewest requests in flight; None if all have *limit*."""
    pod = min(pods, key=_load, default=None)
    return pod if pod is not None and pod.in_flight < limit else None


def nearest(prefix: int, pods: Sequence[Pod], limit: int) -> Pod | None:
    """Return the pod with the highest score for a prefix among those below the bound; None if all have *limit*."""
    if not pods:
        return None
    most = min(limit, bound(sum(map(_load, pods)), len(pods)))
    best, highest = None, -1
    for pod in pods:
        if pod.in_flight < most and (found := score(prefix, pod.seed)) > highest:
            best, highest = pod, found
    return best


def _add(value: Any, text: bytearray, depth: int) -> None:
    """Add what a value says to *text*, in order, until there is enough of it."""
    if len(text) >= PREFIX_BYTES or not depth:
        return
    if isinstance(value, str):
        text += value[:PREFIX_BYTES].encode("utf-8", "surrogatepass") + b"\0"
    elif isinstance(value, int):
        text += b"%d," % value
    elif isinstance(value, dict):
        for name in _IN_MESSAGE:
            if name in value:
                _add(value[name], text, depth - 1)
    elif isinstance(value, list):
        for item in value:
            if len(text) >= PREFIX_BYTES:
                return
            _add(item, text, depth - 1)
