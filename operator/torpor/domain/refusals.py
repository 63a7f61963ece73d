"""The sentences a waiting room refuses with: which limit, which number, and what is still missing."""

from __future__ import annotations

from torpor.domain.waitroom import Refusal, Terms, Willing

BUSY_RETRY_AFTER = 5.0
"""Seconds a client is told to stay away: about the time in which a warm engine ends a few answers."""
WAKE_RETRY_AFTER = 30.0
"""The same of an endpoint that wakes for the first time: what it takes a small model whose weights are there."""


def fullness(
    terms: Terms, waiting: int, waiting_bytes: int, size: int, seconds_left: float | None
) -> Refusal | None:
    """Return why one more request of *size* bytes may not wait, or None if it may."""
    if waiting >= terms.max_waiting:
        limit = (
            f"{waiting} requests wait already, the limit is {terms.max_waiting} (queue.maxRequests)"
        )
    elif waiting_bytes + size > terms.max_waiting_bytes:
        limit = (
            f"{waiting_bytes} bytes wait already and this request has {size}, "
            f"the limit is {terms.max_waiting_bytes} together (queue.maxBytes)"
        )
    else:
        return None
    after = max(seconds_left or 0.0, BUSY_RETRY_AFTER)
    return Refusal(429, "queue_full", f"{terms.name} is busy: {limit}", after)


def overuse(terms: Terms, owner: str, here: int, limit: int) -> Refusal:
    """Return what a key is told that has as many requests at this gateway as it may, waiting and running."""
    words = (
        f"{terms.name}: key {owner} has {here} of {limit} requests in flight here, waiting ones included "
        "(access.keys.maxInFlight); ask again when one has ended"
    )
    return Refusal(429, "key_busy", words, BUSY_RETRY_AFTER)


def haste(terms: Terms, in_flight: int, serving: bool, seconds_left: float | None) -> Refusal:
    """Return what a request is told that would have to wait and does not want to, with how long it would take."""
    if serving:
        words = f"{terms.name} is busy with {in_flight} requests"
        return Refusal(
            503, "would_wait", f"{words}, and the request is not to wait", BUSY_RETRY_AFTER
        )
    after = WAKE_RETRY_AFTER if seconds_left is None else max(seconds_left, BUSY_RETRY_AFTER)
    known = "" if seconds_left is None else f", which takes about {after:.0f} s more"
    words = f"{terms.name} is being woken{known}, and the request is not to wait"
    return Refusal(503, "would_wait", words, after)


def lateness(
    terms: Terms, *, replicas: int | None, in_flight: int, serving: bool, trouble: str
) -> Refusal:
    """Return what a request is told that waited for as long as it may, with what it was waiting for."""
    if serving:
        state = f"its pods are busy with {in_flight} requests"
    elif trouble:
        state = f"waking it failed: {trouble}"
    elif terms.willing is Willing.UNKNOWN:
        state = "whether it can be woken is not known yet"
    elif replicas is None:
        state = "its Deployment does not exist"
    else:
        state = f"none of its {replicas} replicas answers yet"
    message = f"{terms.name} had no room within {terms.max_wait:g} s (queue.maxWait): {state}"
    return Refusal(504, "wait_timeout", message, BUSY_RETRY_AFTER)


def removal(terms: Terms) -> Refusal:
    """Return what those are told who waited for an endpoint that was deleted."""
    message = f"{terms.name} was deleted while the request waited"
    return Refusal(404, "model_not_found", message)


def ending() -> Refusal:
    """Return what those are told who still wait when the gateway's own grace period is over."""
    return Refusal(503, "gateway_ending", "this gateway is ending; another one answers", 1.0)


def starting() -> Refusal:
    """Return what those are told who name a model before the gateway has read which there are."""
    words = "this gateway has just started and does not know the models yet"
    return Refusal(503, "gateway_starting", words, 1.0)


def denial(terms: Terms, trouble: str) -> Refusal:
    """Return what those are told whose wake the API server forbids."""
    return Refusal(503, "WakeDenied", f"{terms.name} cannot be woken: {trouble}")
