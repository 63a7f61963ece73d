"""What the page may know of an endpoint: these fields and no others, so that no key or prompt can ever get onto it."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from torpor.api.conditions import ConditionType, Reason
from torpor.api.status import EndpointStatus
from torpor.api.words import Words
from torpor.domain.remembering import epoch_ms
from torpor.domain.timeline import Day, day_of

Json = dict[str, Any]


class HourRow(Words):
    """GPU-milliseconds of one hour by phase."""

    at_ms: int
    """First instant of the hour, epoch ms."""
    starting: int
    """Scheduled and not ready yet."""
    busy: int
    """Ready, with requests in flight."""
    idle: int
    """Ready, with none."""
    terminating: int
    """Told to end."""


class EndpointRow(Words):
    """One line of the table. Money is a decimal string; absent means unknown. Times are epoch ms."""

    namespace: str
    """Namespace of the endpoint."""
    name: str
    """Name of the endpoint."""
    model: str
    """What clients send as `model`."""
    state: str
    """Reason of the condition Awake, as in the column STATE."""
    why: str = ""
    """Message of the condition Awake."""
    ready: str = "Unknown"
    """Status of the condition Ready: True, False or Unknown."""
    ready_reason: str = ""
    """Reason of the condition Ready."""
    replicas: str = ""
    """Ready replicas of the most there may be."""
    gpu: str = ""
    """GPU class, with the number of GPUs when there are several."""
    currency: str | None = None
    """ISO 4217 code of all money here."""
    per_second: str | None = None
    """Cost of this second."""
    per_hour: str | None = None
    """The same per hour."""
    spent: str | None = None
    """Cost since creation, as of `asOfMs`."""
    saved: str | None = None
    """What never sleeping would have cost more. May be negative."""
    per_million_tokens: str | None = None
    """`spent` per million tokens delivered."""
    as_of_ms: int | None = None
    """Time that the figures are true for; absent before the first."""
    since_ms: int | None = None
    """When the endpoint was made."""
    last_activity_ms: int | None = None
    """Last byte of the last response."""
    deadline_ms: int | None = None
    """When replicas go to sleep if nobody asks."""
    gpus: int = 1
    """GPUs that fill an hour of the day's bars."""
    hours: tuple[HourRow, ...] = ()
    """The hours of the last day in which GPUs were held."""


def row_of(namespace: str, name: str, obj: Json, now_ms: int) -> EndpointRow:
    """Return the line of an endpoint as the API server has it."""
    try:
        status = EndpointStatus.model_validate(obj.get("status") or {})
    except ValidationError:  # one that another version wrote must not hide all others
        why = "its status cannot be read by this version of torpor"
        return EndpointRow(
            namespace=namespace, name=name, model=name, state=Reason.UNKNOWN.value, why=why
        )
    awake, ready = status.condition(ConditionType.AWAKE), status.condition(ConditionType.READY)
    cost, keep_alive = status.cost, status.keep_alive
    day = day_of(cost, status.placement.gpus or 1, now_ms)
    return EndpointRow(
        namespace=namespace,
        name=name,
        model=status.display.model or name,
        state=awake.reason if awake else Reason.UNKNOWN.value,
        why=awake.message if awake else "the controller has not looked at it yet",
        ready=ready.status if ready else "Unknown",
        ready_reason=ready.reason if ready else "",
        replicas=status.display.replicas or "",
        gpu=status.display.gpu or "",
        currency=cost.currency,
        per_second=cost.per_second,
        per_hour=cost.per_hour,
        spent=cost.spent,
        saved=cost.saved,
        per_million_tokens=cost.per_million_tokens,
        as_of_ms=epoch_ms(cost.as_of),
        since_ms=epoch_ms(cost.since),
        last_activity_ms=epoch_ms(keep_alive.last_activity),
        deadline_ms=epoch_ms(keep_alive.deadline),
        gpus=day.gpus,
        hours=_hour_rows(day),
    )


def _hour_rows(day: Day) -> tuple[HourRow, ...]:
    return tuple(
        HourRow(
            at_ms=hour.at_ms,
            starting=hour.held.starting,
            busy=hour.held.busy,
            idle=hour.held.idle,
            terminating=hour.held.terminating,
        )
        for hour in day.hours
    )
