"""`/internal/v1/demand`: everything the controller may know of requests, in one answer for all endpoints."""

from __future__ import annotations

from typing import Any

from torpor import clock
from torpor.gateway.hall import Hall

Json = dict[str, Any]


def report_demand(hall: Hall, gateway: str, started_ms: int) -> Json:
    """Return who waits and runs now, and what happened since the gateway started.

    An endpoint is left out while there is nothing to say of it; one that was deleted is told of until its last request
    has ended and its pods have been gone for ten minutes.
    """
    hall.forget_the_gone()
    now_ms = clock.now_ms()
    endpoints: dict[str, Json] = {}
    for key, tally in hall.tallies.items():
        desk = hall.desks.get(key)
        waiting = desk.room.waiting if desk is not None else 0
        pods = hall.roster.sightings(key, tally.endpoint)
        if not (tally.touched or pods):
            continue
        endpoints[key] = tally.report(waiting, now_ms) | {"uid": tally.endpoint, "podsSeen": pods}
    for key in hall.roster.keys - hall.tallies.keys():
        pods = hall.roster.sightings(key, None)
        endpoints[key] = {"waiting": 0, "inFlight": 0, "podsSeen": pods}
    return {
        "gateway": gateway,
        "asOfMs": now_ms,
        "startedAtMs": started_ms,
        "endpoints": endpoints,
        "doors": hall.doors(),
    }
