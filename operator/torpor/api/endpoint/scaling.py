"""`spec.scaling`: how many replicas, and how long an idle one is kept.

`keepAlive.policy` is never stored by the API server: an endpoint that names none follows the default of the torpor
that runs it. That default is `adaptive`; an endpoint that sets `after` without naming a policy has asked for `fixed`.
"""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache, lru_cache
from typing import Annotated
from zoneinfo import available_timezones

from cronsim import CronSim, CronSimError
from pydantic import Field, StringConstraints, field_validator

from torpor.api.bounds import Between
from torpor.api.quantities import Duration
from torpor.api.words import Rule, Words, in_code, in_order

_CRON = (
    r"^([0-9*/,-]+)\s+([0-9*/,-]+)\s+([0-9*/,L?-]+)\s+([0-9A-Za-z*/,-]+)\s+([0-9A-Za-z*/,#L?-]+)$"
)


class KeepAlivePolicy(StrEnum):
    """How the time to keep an idle replica is found."""

    ADAPTIVE = "adaptive"
    FIXED = "fixed"


class Profile(StrEnum):
    """What a delayed request is worth against an idle GPU."""

    ECONOMY = "economy"
    BALANCED = "balanced"
    RESPONSIVE = "responsive"
    INTERACTIVE = "interactive"


FIXED_DEFAULT = timedelta(minutes=2)
"""`after`, where policy fixed is asked for without it."""


class KeepAlive(Words):
    """How long an idle replica is kept after the last byte of the last answer."""

    rules = (
        Rule(
            "!has(self.after) || !has(self.policy) || self.policy == 'fixed'",
            "after may only be set with policy fixed",
            field=".after",
        ),
        *(
            Rule(
                f"!has(self.{name}) || (has(self.policy) ? self.policy == 'adaptive' : !has(self.after))",
                f"{name} may only be set with policy adaptive",
                field=f".{name}",
            )
            for name in ("profile", "min", "max")
        ),
        Rule(
            "!has(self.min) || !has(self.max) || duration(self.min) <= duration(self.max)",
            "min must not be greater than max",
            field=".min",
        ),
    )

    policy: KeepAlivePolicy | None = None
    """How the time is found: adaptive (learned from how requests come back and what a wake costs) or fixed
    (`after`, exactly). Default: fixed where `after` is set, else adaptive."""
    after: Annotated[Duration, Between("1s", "168h")] | None = None
    """Idle time after which replicas are put to sleep, 1s to 168h. Only with policy fixed. Default: 2m."""
    profile: Profile | None = None
    """What a second of waiting is worth: economy (as much as one of an idle GPU), balanced (5), responsive
    (20) or interactive (50). Only with policy adaptive. Default: balanced."""
    min: Annotated[Duration, Between("1s", "168h")] | None = None
    """Shortest time the adaptive policy may choose, 1s to 168h. Default: 15s, or `max` if that is less."""
    max: Annotated[Duration, Between("1s", "168h")] | None = None
    """Longest time the adaptive policy may choose, 1s to 168h. Default: 1h, or `min` if that is more."""

    @property
    def fixed_seconds(self) -> int | None:
        """The fixed time; None if the time is learned."""
        if self.policy is KeepAlivePolicy.ADAPTIVE or (self.policy is None and self.after is None):
            return None
        return round((self.after or FIXED_DEFAULT).total_seconds())


@lru_cache(1024)
def _fault_of(cron: str) -> str:
    """Return why an expression is never due; empty if it is. Remembered: an endpoint is read in every pass."""
    try:
        next(CronSim(cron, datetime(2026, 1, 1, tzinfo=UTC)))
    except (CronSimError, StopIteration) as error:
        return str(error).lower() or "no such day"
    return ""


@cache
def _zones() -> frozenset[str]:
    """Return the tz database's names; to find them its whole folder is read."""
    return frozenset(available_timezones())


class Schedule(Words):
    """A recurring time in which more replicas are kept."""

    cron: Annotated[str, StringConstraints(min_length=9, max_length=128, pattern=_CRON)]
    """Start, as five cron fields: minute, hour, day of month, month, day of week."""
    duration: Annotated[Duration, Between("1m", "168h")]
    """How long it lasts in elapsed time, 1m to 168h."""
    min_replicas: Annotated[int, Field(ge=0, le=1000)]
    """Replicas kept in that time."""
    time_zone: Annotated[
        str,
        StringConstraints(
            min_length=1, max_length=64, pattern=r"^[A-Za-z_]+([/+-][A-Za-z0-9_+-]+)*$"
        ),
    ] = Field(default="UTC", json_schema_extra=in_code())
    """Time zone of `cron`, as in the tz database, such as Europe/Berlin. Default: UTC."""

    @field_validator("cron")
    @classmethod
    def _is_due_some_day(cls, cron: str) -> str:
        if fault := _fault_of(cron):
            raise ValueError(f"is never due ({fault})")
        return cron

    @field_validator("time_zone")
    @classmethod
    def _is_known(cls, zone: str) -> str:
        if zone not in _zones():
            raise ValueError("is not in the tz database")
        return zone


class Rollout(StrEnum):
    """When a changed spec reaches replicas that are awake."""

    WHEN_IDLE = "whenIdle"
    IMMEDIATE = "immediate"


class Routing(StrEnum):
    """Which of several replicas gets a request."""

    LEAST_IN_FLIGHT = "leastInFlight"
    PREFIX = "prefix"


class Scaling(Words):
    """How many replicas, and how long an idle one is kept."""

    rules = (
        Rule(
            "!has(self.minReplicas) || !has(self.maxReplicas) || self.minReplicas <= self.maxReplicas",
            "minReplicas must not be greater than maxReplicas",
            field=".minReplicas",
        ),
        Rule(
            "!has(self.schedules) || !has(self.maxReplicas)"
            " || self.schedules.all(s, s.minReplicas <= self.maxReplicas)",
            "no schedule may keep more replicas than maxReplicas",
            field=".schedules",
        ),
    )

    min_replicas: Annotated[int, Field(ge=0, le=1000)] = 0
    """Replicas kept whether or not anybody asks; 0 lets the endpoint sleep. `kubectl scale` sets this."""
    max_replicas: Annotated[int, Field(ge=1, le=1000)] = 1
    """Most replicas, 1 to 1000."""
    in_flight_per_replica: Annotated[int, Field(ge=1, le=10000)] = 32
    """Requests that one replica answers at the same time; more wait, or wake more replicas."""
    routing: Routing = Routing.LEAST_IN_FLIGHT
    """Which of several replicas gets a request: leastInFlight (the one with the fewest) or prefix (prompts that
    begin alike go to the same one, whose prefix cache knows them, as long as it is not much busier than the others)."""
    keep_alive: KeepAlive = Field(default_factory=KeepAlive)
    """How long an idle replica is kept before it is put to sleep."""
    schedules: tuple[Schedule, ...] = Field(
        default=(),
        max_length=32,
        json_schema_extra=in_order(),
    )
    """Recurring times in which more replicas are kept than minReplicas; the one that keeps most counts."""
    suspend: bool = False
    """Put the endpoint to sleep and refuse to wake it, whatever minReplicas says."""
    rollout: Rollout = Rollout.WHEN_IDLE
    """When a changed spec reaches replicas that are awake: whenIdle (at the next sleep) or immediate
    (replicas are replaced at once)."""
