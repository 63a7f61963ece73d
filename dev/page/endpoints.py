"""Endpoints that are made up, with statuses as the controller writes them: its own meter computes the figures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torpor.api.conditions import Condition, ConditionType, Reason
from torpor.api.status import (
    Display,
    EndpointStatus,
    KeepAliveStatus,
    PlacementStatus,
    TokensStatus,
)
from torpor.domain.costfigures import read_meter
from torpor.domain.figures import cost_words
from torpor.domain.ledger import LivePod, Meter, Price, Segment
from torpor.domain.metering import stay_on
from torpor.domain.observation import Demand, GatewayReport
from torpor.domain.pricing import Tariff
from torpor.domain.remembering import moment
from torpor.domain.windows import Windows, kept

Json = dict[str, Any]
MINUTE = 60_000
HOUR = 60 * MINUTE
LOADING = 75_000
ENDING = 12_000


@dataclass(frozen=True, slots=True)
class Wake:
    """One life of a replica: when it began, how long it was kept (None: it still runs), how much of that was busy."""

    hours_ago: float
    minutes: float | None
    busy: float = 0.6


@dataclass(frozen=True, slots=True)
class Story:
    """What is told of one endpoint."""

    namespace: str
    name: str
    state: Reason
    why: str
    gpu_class: str = "l40s"
    price: str | None = "1.861"
    """Per GPU and hour; None: nobody knows."""
    currency: str = "USD"
    gpus: int = 1
    replicas: str = "0/1"
    days: float = 4.0
    wakes: tuple[Wake, ...] = ()
    tokens: tuple[int, int] = (0, 0)
    ready: str = "True"
    ready_reason: Reason = Reason.CAN_ANSWER
    model: str = ""
    idle_s: float | None = None
    """Seconds since the last byte."""
    sleeps_s: float | None = None
    """Seconds until it goes to sleep."""


def made_up(story: Story, now_ms: int) -> Json:
    """Return the object as the API server would have it."""
    status = _status(story, now_ms)
    return {
        "metadata": {
            "namespace": story.namespace,
            "name": story.name,
            "uid": f"{story.namespace}-{story.name}",
            "resourceVersion": str(now_ms),
        },
        "status": status.to_dict(),
    }


def by_key(stories: Iterable[Story], now_ms: int) -> dict[tuple[str, str], Json]:
    """Return them as the controller keeps them."""
    return {(story.namespace, story.name): made_up(story, now_ms) for story in stories}


def _status(story: Story, now_ms: int) -> EndpointStatus:
    price = Price(
        f"{story.gpu_class}@{story.price}",
        story.gpu_class,
        "on-demand",
        story.currency,
        None if story.price is None else round(float(story.price) * 1_000_000),
    )
    since_ms = round(now_ms - story.days * 24 * HOUR)
    pods, demand = _pods(story, price, since_ms, now_ms)
    tokens = TokensStatus(prompt=story.tokens[0], completion=story.tokens[1])
    meter = Meter(live=pods, always_on_ms=since_ms)
    windows = kept(Windows(), lambda at: read_meter(meter, demand, tokens, at), since_ms, now_ms)
    meter = stay_on(meter, Tariff(price), story.gpus, now_ms)
    cost = cost_words(
        meter, windows, demand, tokens, story.currency, moment(since_ms), moment(now_ms)
    )
    many = f"{story.gpus}×" if story.gpus > 1 else ""
    return EndpointStatus(
        conditions=_conditions(story, now_ms),
        display=Display(
            replicas=story.replicas,
            gpu=many + story.gpu_class,
            model=story.model or story.name,
        ),
        placement=PlacementStatus(gpu_class=story.gpu_class, gpus=story.gpus),
        keep_alive=KeepAliveStatus(
            seconds=120,
            last_activity=None
            if story.idle_s is None
            else moment(round(now_ms - story.idle_s * 1000)),
            deadline=None
            if story.sleeps_s is None
            else moment(round(now_ms + story.sleeps_s * 1000)),
        ),
        cost=cost,
        tokens=tokens,
    )


def _conditions(story: Story, now_ms: int) -> tuple[Condition, ...]:
    awake = "True" if story.state in (Reason.SERVING, Reason.KEEPING_WARM) else "False"
    told = (
        (ConditionType.READY, story.ready, story.ready_reason, ""),
        (ConditionType.AWAKE, awake, story.state, story.why),
    )
    return tuple(
        Condition.model_validate(
            {
                "type": kind.value,
                "status": status,
                "reason": reason.value,
                "message": message,
                "last_transition_time": moment(now_ms),
            }
        )
        for kind, status, reason, message in told
    )


def _pods(
    story: Story, price: Price, since_ms: int, now_ms: int
) -> tuple[tuple[LivePod, ...], Demand]:
    pods = list[LivePod]()
    busy = dict[str, tuple[tuple[int, int | None], ...]]()
    for number, wake in enumerate(story.wakes):
        uid, start = f"pod-{number}", round(now_ms - wake.hours_ago * HOUR)
        ready = start + LOADING
        deleted = None if wake.minutes is None else round(start + wake.minutes * MINUTE)
        loads = deleted is None and ready > now_ms
        pods.append(
            LivePod(
                uid,
                f"{story.name}-{number}",
                story.gpus,
                start,
                (Segment(price, start),),
                first_ready_ms=None if loads else ready,
                deleted_ms=deleted,
                finished_ms=None if deleted is None else deleted + ENDING,
                busy_through_ms=start,
            )
        )
        end = now_ms if deleted is None else deleted
        each = round(5 * MINUTE * wake.busy)
        busy[uid] = tuple((at, min(end, at + each)) for at in range(ready, end, 5 * MINUTE))
    report = GatewayReport("gateway-1", now_ms, since_ms, busy=busy)
    return tuple(pods), Demand((report,))
