"""No request is lost while things come and go: every answer is right to its last byte, or nobody was to blame."""

import pytest

from bench.doors import upsets
from bench.doors.traffic import Asked, tell_lost
from tests.cluster.playing import played
from tests.cluster.space import Space

pytestmark = pytest.mark.cluster


def lost(asked: list[Asked]) -> list[str]:
    """Return why each of the lost ones was lost."""
    print(f"{len(asked)} requests; lost: {tell_lost(asked)}")
    return [one.reason for one in asked if one.lost]


def test_sleep_and_wake_under_load_lose_nothing(space: Space) -> None:
    upset = played(space, upsets.sleep_and_wake(space, 160, cycles=4))
    assert lost(upset.asked) == []
    assert upset.proof["sleeps"] >= 4


def test_an_immediate_rollout_of_the_engine_loses_nothing(space: Space) -> None:
    upset = played(space, upsets.roll_engine(space, 280, times=1))
    assert lost(upset.asked) == []
    assert upset.proof["pods replaced"] == 1


def test_a_rollout_of_the_gateways_loses_nothing(space: Space) -> None:
    upset = played(space, upsets.roll_gateways(space, 280, times=1))
    assert lost(upset.asked) == []


def test_without_the_api_server_who_is_awake_answers_and_who_sleeps_answers_later(
    space: Space,
) -> None:
    upset = played(space, upsets.lose_api_server(space, 280, seconds=6))
    assert lost(upset.asked) == []
    assert upset.proof["waited for it"] == 2


def test_without_controllers_endpoints_answer_and_wake(space: Space) -> None:
    upset = played(space, upsets.lose_controllers(space, 280, seconds=6, wakes=1))
    assert lost(upset.asked) == []


def test_a_gateway_that_is_killed_takes_only_its_own_requests_with_it(space: Space) -> None:
    upset = played(space, upsets.kill_one_gateway(space, 280))
    unanswered = [one.reason for one in upset.asked if not one.answered]
    print(upset.proof, tell_lost(upset.asked))
    own = upset.proof["of these not answered"]
    assert own < upset.proof["under way then"]
    assert len(unanswered) - own <= len(upset.asked) / 100
