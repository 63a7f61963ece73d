"""The replay itself: one replica per endpoint, any number of requests at a time, a cold start that is billed whole.

A request that finds no replica starts one; whoever comes before it is ready waits until it is. Idle time begins at the
last byte of the last answer. Nothing is known of an endpoint before its first request, which finds it asleep, and
nothing is billed beyond the end of the trace but answers that are still going on (cost-policy §4.2).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torpor.domain.gaps import HOUR_S, HOURS
from torpor.domain.keepalive import Keep
from torpor.simulate.policies import Mind, Policy
from torpor.simulate.traffic import Endpoint, Trace


@dataclass(slots=True)
class Outcome:
    """What a policy came to on a trace."""

    name: str
    requests: int
    gpu_s: float = 0.0
    """Billed: starting, busy and idle."""
    starts: int = 0
    prewakes: int = 0
    """Of the starts, those ahead of demand."""
    waits: list[float] = field(default_factory=list[float])
    """Of the requests that had to wait, in seconds."""

    @property
    def delayed(self) -> float:
        """Share of the requests that had to wait."""
        return len(self.waits) / self.requests if self.requests else 0.0

    @property
    def mean_wait_s(self) -> float:
        """Over all requests."""
        return sum(self.waits) / self.requests if self.requests else 0.0

    def wait(self, share: float) -> float:
        """Return a percentile of the waits of all requests (nearest rank), in seconds."""
        place = int(-(-share * self.requests // 1)) - (self.requests - len(self.waits))
        return sorted(self.waits)[place - 1] if place > 0 else 0.0


def replay(trace: Trace, policy: Policy, cold_s: float) -> Outcome:
    """Return what a policy comes to, with cold starts of so many seconds."""
    outcome = Outcome(policy.name, trace.requests)
    for endpoint in trace.endpoints:
        if endpoint.arrivals:
            _replay_one(endpoint, trace, policy, cold_s, outcome)
    return outcome


def _replay_one(
    endpoint: Endpoint, trace: Trace, policy: Policy, cold_s: float, outcome: Outcome
) -> None:
    mind = policy.mind(cold_s)
    waits = outcome.waits
    since = endpoint.arrivals[0]  # what runs now has been billed from here on
    ready = end = since + cold_s
    outcome.starts += 1
    for arrival, service in zip(endpoint.arrivals, endpoint.services, strict=True):
        if arrival > end:
            gap = arrival - end
            kept = mind.idle((trace.start_hour + end / HOUR_S) % HOURS)
            if gap > kept.seconds:
                outcome.gpu_s += end + kept.seconds - since
                since, ready = _wake(kept, end, arrival, cold_s, outcome)
            mind.came(gap)
        if arrival < ready:
            waits.append(ready - arrival)
            finish = ready + service
        else:
            finish = arrival + service
        end = max(end, finish)
    outcome.gpu_s += end - since + _left_over(mind, end, trace, outcome)


def _wake(
    kept: Keep, end: float, arrival: float, cold_s: float, outcome: Outcome
) -> tuple[float, float]:
    """Return since when the replica that answers is billed, and when it is ready."""
    outcome.starts += 1
    prewake = kept.prewake
    if prewake is None or arrival <= end + prewake.start_s:
        return arrival, arrival + cold_s
    outcome.prewakes += 1
    began = end + prewake.start_s
    if arrival <= max(end + prewake.until_s, began + cold_s):
        return began, began + cold_s
    outcome.starts += 1
    outcome.gpu_s += prewake.until_s - prewake.start_s
    return arrival, arrival + cold_s


def _left_over(mind: Mind, end: float, trace: Trace, outcome: Outcome) -> float:
    """Return what is billed after the last answer, until the trace ends."""
    rest = trace.length_s - end
    if rest <= 0:
        return 0.0
    kept = mind.idle((trace.start_hour + end / HOUR_S) % HOURS)
    billed = min(kept.seconds, rest)
    if kept.prewake is not None and kept.prewake.start_s < rest:
        outcome.starts += 1
        outcome.prewakes += 1
        billed += min(kept.prewake.until_s, rest) - kept.prewake.start_s
    return billed


def clairvoyant(trace: Trace, cold_s: float) -> Outcome:
    """Return the bound: one who knows every gap pays the cheaper of it and a cold start, and nobody waits."""
    outcome = Outcome("clairvoyant", trace.requests)
    for endpoint in trace.endpoints:
        end = None
        for arrival, service in zip(endpoint.arrivals, endpoint.services, strict=True):
            if end is None:
                outcome.gpu_s += cold_s
                outcome.starts += 1
                end = arrival
            if arrival > end:
                outcome.gpu_s += min(arrival - end, cold_s)
                outcome.starts += arrival - end > cold_s
                end = arrival
            finish = arrival + service
            if finish > end:
                outcome.gpu_s += finish - end
                end = finish
    outcome.prewakes = outcome.starts
    return outcome
