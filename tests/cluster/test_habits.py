"""The keep-alive that is learned, on the real cluster: told, kept to the second, not lost with its controller."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.cluster.apiserver import DEPLOYMENTS, ENDPOINTS, until
from tests.cluster.killing import kill_leader, wait_for_renewal
from tests.cluster.space import Space
from torpor.domain.keeping import Memory, adaptive_policy, kept_for
from torpor.domain.remembering import memory_of

pytestmark = pytest.mark.cluster

LEARNED = {"keepAlive": {"policy": "adaptive", "profile": "responsive", "min": "3s", "max": "40s"}}
GAP = 1.5
TIMES = 6
BOUND = 1.0


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
