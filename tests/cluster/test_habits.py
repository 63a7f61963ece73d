"""The keep-alive that is learned, on the real cluster: told, kept to the second, not lost with its controller."""

import re
import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.cluster.apiserver import DEPLOYMENTS, ENDPOINTS, Json, until
from tests.cluster.killing import kill_leader, wait_for_renewal
from tests.cluster.space import Space
from torpor.domain.keepalive import Bounds, Learned, choose, learn, learn_cold_start
from torpor.domain.keeping import Memory, adaptive_policy, kept_for
from torpor.domain.prewake import Price
from torpor.domain.recalling import encode
from torpor.domain.remembering import memory_of

pytestmark = pytest.mark.cluster

LEARNED = {"keepAlive": {"policy": "adaptive", "profile": "responsive", "min": "3s", "max": "40s"}}
GAP = 1.5
TIMES = 6
BOUND = 1.0
COMES_AFTER = 60.0
"""Seconds after each answer in which the regular user comes again."""


def test_an_endpoint_is_kept_for_as_long_as_its_users_have_taught_it(space: Space) -> None:
    fresh = space.start(
        "learner", switches={"STANDIN_LOAD_SECONDS": "2"}, spec={"scaling": LEARNED}
    )
    assert (
        fresh.status.keep_alive.seconds == 40
    )  # nothing is known, and a wake is taken for a minute
    assert "a wake costs 60 s" in (fresh.status.keep_alive.why or "")

    with space.api.watching(space.path(DEPLOYMENTS)) as deployments:
        last_byte = _ask_often(space)
        learned = until("the gaps to be learned", lambda: _knows(space, TIMES - 1), timeout=10)
        assert learned.learned.cold_s is not None
        assert 0.2 < learned.learned.cold_s < 60

        killed = kill_leader(space.api)
        wait_for_renewal(space.api, killed)
        last_byte = max(last_byte, _ask(space))
        after = until("the next gap", lambda: _knows(space, TIMES), timeout=30)
        assert after.learned.habits.seen > learned.learned.habits.seen

        kept = space.read("learner").status.keep_alive
        assert kept.seconds is not None
        assert 3 <= kept.seconds <= 40
        assert "of gaps end before" in (kept.why or "")
        space.wait_asleep("learner", timeout=90)
        slept = deployments.slept("learner")[-1]
    exact = _exactly(space, after)
    print(f"kept {slept - last_byte:.2f} s, by what was learned {exact:.2f} s: {kept.why}")
    assert abs(slept - last_byte - exact) <= BOUND


def test_a_schedule_keeps_replicas_while_it_is_on(space: Space) -> None:
    began = datetime.fromtimestamp(time.time(), UTC) - timedelta(minutes=1)
    schedule = {"cron": f"{began.minute} {began.hour} * * *", "duration": "168h", "minReplicas": 1}
    scaling = {"schedules": [schedule], "keepAlive": {"after": "1s"}}
    space.apply(space.compose("office", spec={"scaling": scaling}))
    awake = space.wait_condition("office", "Awake", reason="KeepingWarm", timeout=90)
    said = awake.status.condition("Awake")
    assert said is not None
    assert said.message.startswith(f"the schedule {schedule['cron']} (UTC) keeps 1 until ")
    off = {"spec": {"scaling": {"schedules": None}}}
    space.api.patch(space.path(ENDPOINTS, "office"), off)
    space.wait_asleep("office")


def test_a_start_ahead_meets_whoever_comes_as_always(space: Space) -> None:
    """What takes days to learn is written into the status; the start, the wait and the answer are real."""
    often = {"keepAlive": {"policy": "adaptive", "min": "3s"}}
    space.start("regular", spec={"scaling": often})
    assert space.chat("regular").status == 200
    path = f"{space.path(ENDPOINTS, 'regular')}/status"
    knows = {"learned": encode(_regular(COMES_AFTER))}
    with space.api.watching(space.path(DEPLOYMENTS)) as deployments:
        _write(space, path, {"status": {"keepAlive": knows}})
        last_byte = time.time()
        assert space.chat("regular").status == 200
        slept = space.wait_asleep("regular", timeout=30).status.keep_alive
        assert slept.ahead is not None
        assert "wakes again after" in (slept.why or "")
        awake = space.wait_condition("regular", "Awake", "Unknown", "WarmingUp", timeout=90)
        said = awake.status.condition("Awake")
        assert said is not None
        assert re.match(
            r"woken ahead of demand(, 0 of 1 replicas are ready)?: keeps 3 s", said.message
        )
        started = next(at for at, number in reversed(deployments.replicas("regular")) if number)
        space.wait_condition("regular", "Awake", reason="KeepingWarm", timeout=30)
        time.sleep(max(0.0, last_byte + COMES_AFTER - time.time()))
        reply = space.chat("regular")
    late = started - slept.ahead.timestamp()
    print(
        f"started {late:+.2f} s from what was said, {started - last_byte:.1f} s after the last answer: {slept.why}"
    )
    assert reply.status == 200
    assert "x-torpor-waited-ms" not in reply.headers
    assert 0 <= late <= BOUND
    assert started - last_byte < COMES_AFTER


def _regular(gap_s: float) -> Learned:
    """What is known of an endpoint that somebody has asked at the same distance fifty times."""
    now = datetime.now(UTC)
    hour, price = now.hour + now.minute / 60, Price(5.0, 5.0)
    learned = learn_cold_start(Learned(), price.cold_s)
    for _ in range(50):
        kept = choose(learned, price, hour, Bounds(3.0, 3600.0))
        learned = learn(learned, gap_s, hour, price, kept)
    assert learned.prewakes
    return learned


def _write(space: Space, path: str, patch: Json) -> None:
    """Patch a status that the controller writes as well: until both have had their say."""
    wanted = patch["status"]["keepAlive"]["learned"]

    def stands() -> bool | None:
        space.api.patch(path, patch)
        time.sleep(1)
        return space.read("regular").status.keep_alive.learned == wanted or None

    until("what was learned to stand in the status", stands, 20)


def _ask_often(space: Space) -> float:
    """Ask, wait, ask; return when the last answer's last byte came (epoch seconds)."""
    for _ in range(TIMES):
        time.sleep(GAP)
        last_byte = _ask(space)
    return last_byte


def _ask(space: Space) -> float:
    assert space.chat("learner").status == 200
    return time.time()


def _memory(space: Space) -> Memory:
    return memory_of(space.read("learner").status.keep_alive)


def _knows(space: Space, gaps: int) -> Memory | None:
    memory = _memory(space)
    return memory if memory.learned.habits.seen > gaps - 0.5 else None


def _exactly(space: Space, memory: Memory) -> float:
    """What the policy says of what was learned, to the millisecond; the status has whole seconds."""
    policy = adaptive_policy(space.read("learner").spec.scaling.keep_alive)
    assert policy is not None
    assert memory.idle_since_ms is not None
    return (kept_for(memory, policy, memory.idle_since_ms).ms or 0) / 1000
