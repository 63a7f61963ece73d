"""The policies that a trace is replayed with; the adaptive one is domain/keepalive.py itself, learning as it goes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from torpor.domain.keepalive import WEIGHTS, Bounds, Keep, Learned, choose, learn
from torpor.domain.prewake import Price


class Mind(Protocol):
    """What decides for one endpoint; asked once when it becomes idle, told when somebody comes."""

    def idle(self, hour: float) -> Keep:
        """Return how long to keep the replica that became idle at this hour of the day."""
        ...

    def came(self, gap_s: float) -> None:
        """Take in how long the idle time lasted."""
        ...


class Policy(Protocol):
    """A way to decide, for any number of endpoints."""

    @property
    def name(self) -> str:
        """As on the command line."""
        ...

    def mind(self, cold_s: float) -> Mind:
        """Return a mind for one endpoint that knows nothing of it but its cold start."""
        ...


@dataclass(frozen=True, slots=True)
class Fixed:
    """The same time-out after every answer."""

    after_s: float

    @property
    def name(self) -> str:
        """As on the command line."""
        return f"fixed:{self.after_s:.4g}" if self.after_s < 1e4 else f"fixed:{self.after_s:.0f}"

    def mind(self, cold_s: float) -> Mind:
        """Return a mind that never changes."""
        return _Constant(Keep(self.after_s, ""))


@dataclass(frozen=True, slots=True)
class Adaptive:
    """torpor's own: learns each endpoint's habits from nothing."""

    weight: float
    """What a second of waiting is worth, in GPU-seconds."""
    profile: str = ""
    bounds: Bounds = field(default_factory=Bounds)
    prewakes: bool = True
    by_hour: bool = True
    """Whether habits of the day count."""

    @property
    def name(self) -> str:
        """As on the command line."""
        return f"adaptive:{self.profile or f'{self.weight:g}'}"

    def mind(self, cold_s: float) -> Mind:
        """Return a mind that knows nothing yet."""
        return _Learning(self, cold_s)


@dataclass(slots=True)
class _Constant:
    kept: Keep

    def idle(self, hour: float) -> Keep:
        return self.kept

    def came(self, gap_s: float) -> None:
        """Learn nothing."""


class _Learning:
    def __init__(self, policy: Adaptive, cold_s: float) -> None:
        self._policy, self._price = policy, Price(cold_s, policy.weight)
        self._learned, self._hour = Learned(), 0.0
        self._kept: Keep | None = None

    def idle(self, hour: float) -> Keep:
        policy = self._policy
        self._hour = hour
        asked = hour if policy.by_hour else None
        self._kept = choose(self._learned, self._price, asked, policy.bounds)
        return self._kept if policy.prewakes else Keep(self._kept.seconds, "")

    def came(self, gap_s: float) -> None:
        self._learned = learn(self._learned, gap_s, self._hour, self._price, self._kept)


def policy_named(text: str, bounds: Bounds) -> Policy:
    """Return the policy that the command line names.

    Raises:
        ValueError: It is none; the message says what there is.
    """
    kind, _, value = text.partition(":")
    if kind == "adaptive" and (value or "balanced") in WEIGHTS:
        profile = value or "balanced"
        return Adaptive(WEIGHTS[profile], profile, bounds)
    number = _number(value)
    if kind == "adaptive" and number is not None:
        return Adaptive(number, "", bounds)
    if kind == "fixed" and number is not None:
        return Fixed(number)
    raise ValueError(
        f"{text!r} is not a policy: write adaptive:PROFILE ({', '.join(WEIGHTS)}), adaptive:WEIGHT "
        "(GPU-seconds that a second of waiting is worth), or fixed:SECONDS"
    )


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None
