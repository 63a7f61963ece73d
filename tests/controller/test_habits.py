"""How long idle replicas are kept: from spec, status and gateways to the decision, and back into the status."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.controller.stage import KEY, Stage
from torpor import clock
from torpor.api.endpoint import InferenceEndpoint
from torpor.api.status import EndpointStatus
from torpor.controller.habits import adaptive_policy
from torpor.domain.keepalive import Learned
from torpor.domain.remembering import epoch_ms, memory_of

Json = dict[str, Any]


def endpoint(keep_alive: Json) -> InferenceEndpoint:
    spec = {"model": {"source": "s3://models/tiny/"}, "scaling": {"keepAlive": keep_alive}}
    return InferenceEndpoint.model_validate({"metadata": {"name": "tiny"}, "spec": spec})


@pytest.mark.parametrize(
    ("keep_alive", "weight", "least", "most"),
    [
        ({}, 5, 15, 3600),
        ({"policy": "adaptive", "profile": "interactive"}, 50, 15, 3600),
        ({"profile": "economy", "min": "2m"}, 1, 120, 3600),
        ({"min": "2h"}, 5, 7200, 7200),
        ({"max": "10s"}, 5, 10, 10),
        ({"profile": "responsive", "min": "30s", "max": "6h"}, 20, 30, 21_600),
    ],
)
def test_the_policy_as_the_spec_wants_it(
    keep_alive: Json, weight: float, least: float, most: float
) -> None:
    policy = adaptive_policy(endpoint(keep_alive).spec.scaling.keep_alive)
    assert policy is not None
    assert (policy.weight, policy.bounds.least_s, policy.bounds.most_s) == (weight, least, most)


def test_a_fixed_time_is_no_policy() -> None:
    assert adaptive_policy(endpoint({"after": "2m"}).spec.scaling.keep_alive) is None


def uid_of_pod(stage: Stage) -> str:
    (pod,) = stage.seen.engine_pods(KEY, clock.now_ms())
    return pod.uid


async def tell(stage: Stage, *busy: tuple[float, float | None]) -> None:
    """Let the gateway tell of requests from so many seconds ago to so many."""
    now = clock.now_ms()
    ends = [now - round(1000 * b) for _, b in busy if b is not None]
    spans = [[now - round(1000 * a), None if b is None else now - round(1000 * b)] for a, b in busy]
    stage.report = {
        "lastByteAtMs": max(ends),
        "inFlight": sum(b is None for _, b in busy),
        "pods": {uid_of_pod(stage): {"busy": spans}},
    }
    await stage.demand.ask()


def keep_alive_of(stage: Stage) -> Json:
    found: Json = stage.status()["keepAlive"]
    return found


async def test_what_is_learned_stands_in_the_status_and_lasts(stage: Stage) -> None:
    await stage.make_ready()
    stage.run_pod(ready_seconds_ago=600)
    await tell(stage, (580, 570), (500, 490), (9, 5))
    await stage.step()
    words = EndpointStatus.model_validate(stage.status()).keep_alive
    memory = memory_of(words)
    assert memory.learned.habits.seen == pytest.approx(1.995, abs=0.001)
    assert memory.learned.cold_s == pytest.approx(10, abs=1)  # as long as the pod took to be Ready
    assert memory.idle_since_ms == epoch_ms(words.learned_through)
    assert words.seconds == 15
    assert (words.why or "").startswith("keeps 15 s (the least allowed): ")
    assert stage.condition("Awake") == ("True", "KeepingWarm")
    before = keep_alive_of(stage)
    await stage.step()
    assert keep_alive_of(stage) == before


async def test_it_sleeps_when_the_time_that_was_learned_is_over(stage: Stage) -> None:
    await stage.make_ready()
    stage.run_pod(ready_seconds_ago=600)
    await tell(stage, (580, 570), (500, 490), (90, 80))
    await stage.step()
    assert stage.replicas() == 0


async def test_an_endpoint_with_a_fixed_time_learns_as_well(stage: Stage) -> None:
    await stage.make_ready(scaling={"keepAlive": {"after": "2m"}})
    stage.run_pod(ready_seconds_ago=600)
    await tell(stage, (580, 570), (50, 40))
    await stage.step()
    words = EndpointStatus.model_validate(stage.status()).keep_alive
    assert (words.seconds, words.why) == (
        120,
        "fixed: 120 s after the last response, as spec.scaling.keepAlive says",
    )
    assert memory_of(words).learned != Learned()


async def test_what_came_after_the_last_poll_keeps_it_awake_and_is_learned(stage: Stage) -> None:
    await stage.make_ready()
    stage.run_pod(ready_seconds_ago=600)
    await tell(stage, (580, 570))
    poll = dict(stage.report)
    now = clock.now_ms()
    stage.report = poll | {
        "lastByteAtMs": now - 1000,
        "pods": {
            uid_of_pod(stage): {"busy": [[now - 580_000, now - 570_000], [now - 2000, now - 1000]]}
        },
    }
    await stage.step()  # would put it to sleep, asks once more
    assert stage.replicas() == 1
    words = EndpointStatus.model_validate(stage.status()).keep_alive
    assert memory_of(words).learned.habits.seen == pytest.approx(1, abs=0.001)


def _cron(at_ms: int) -> str:
    when = datetime.fromtimestamp(at_ms / 1000, UTC)
    return f"{when.minute} {when.hour} * * *"


async def test_a_schedule_that_is_on_wakes_it_and_keeps_it_until_its_end(stage: Stage) -> None:
    began = clock.now_ms() // 60_000 * 60_000 - 60_000
    schedule = {"cron": _cron(began), "duration": "30m", "minReplicas": 2}
    await stage.make_ready(scaling={"maxReplicas": 2, "schedules": [schedule]})
    again = await stage.step()
    assert stage.replicas() == 2
    said = next(c for c in stage.status()["conditions"] if c["type"] == "Awake")
    assert said["message"].startswith(f"the schedule {_cron(began)} (UTC) keeps 2 until ")
    assert again is not None
    assert again <= began + 30 * 60_000


async def test_one_that_is_not_on_yet_is_looked_at_when_it_begins(stage: Stage) -> None:
    begins = clock.now_ms() // 60_000 * 60_000 + 120_000
    schedule = {"cron": _cron(begins), "duration": "30m", "minReplicas": 1}
    await stage.make_ready(scaling={"schedules": [schedule]})
    again = await stage.step()
    assert stage.replicas() == 0
    assert again is not None
    assert again <= begins


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"cron": "99 8 * * *"}, "spec.scaling.schedules[0].cron: is never due (bad minute)"),
        ({"timeZone": "Mars/Olympus"}, "spec.scaling.schedules[0].timeZone: is not in the tz"),
    ],
)
async def test_a_schedule_that_cannot_be_is_told(stage: Stage, wrong: Json, said: str) -> None:
    schedule = {"cron": "0 8 * * *", "duration": "30m", "minReplicas": 1} | wrong
    stage.apply(scaling={"schedules": [schedule]})
    await stage.step()
    assert stage.condition("Ready") == ("False", "InvalidSpec")
    told = next(c for c in stage.status()["conditions"] if c["type"] == "Ready")
    assert said in told["message"]
