"""Nothing stale is asked: endpoints made again under their names, pods deleted by force, nodes that are gone."""

from collections import Counter
from pathlib import Path

import pytest

from bench.doors import strangers
from bench.doors.traffic import tell_lost
from bench.doors.upsets import Upset
from dev.engine.standin.checksum import checksum_objects
from dev.install.checkpoint import write_checkpoint
from tests.cluster.playing import played
from tests.cluster.space import Space

pytestmark = pytest.mark.cluster

NAMESAKES = 4


def test_endpoints_made_again_under_their_names_answer_with_their_own_weights(
    space: Space, tmp_path: Path
) -> None:
    other = f"s3://t-tests/{space.name}/"
    write_checkpoint(tmp_path, megabytes=2, seed=space.name)
    space.torpor.bucket.put(tmp_path, other)
    sources = (space.weights, other)
    first, second = (checksum_objects(dict(space.torpor.bucket.read(one))) for one in sources)
    renewed = played(
        space, strangers.make_again(space, sources, (first, second), NAMESAKES, at_once=1)
    )
    heard = Counter(one for asker in renewed.askers for one in asker.heard)
    print(f"{dict(heard)}; {renewed.reused} addresses used again by others")
    assert [asker.fault for asker in renewed.askers if asker.fault] == []
    assert renewed.reused >= 1


def failures(upset: Upset) -> int:
    """Return how many were not answered; each of them was told why."""
    print(f"{len(upset.asked)} requests, {upset.proof}; lost: {tell_lost(upset.asked)}")
    failed = [one for one in upset.asked if one.lost]
    assert all("engine_broke" in one.reason for one in failed)
    return len(failed)


def test_a_pod_deleted_by_force_fails_only_what_ran_on_it(space: Space) -> None:
    upset = played(space, strangers.force_delete(space, 280))
    assert failures(upset) == upset.proof["of these not answered"]


def test_a_node_that_is_gone_fails_what_was_sent_to_it_and_is_set_aside(space: Space) -> None:
    upset = played(space, strangers.silence_node(space, 280))
    assert failures(upset) >= upset.proof["of these not answered"] >= 1
    assert all(one.answered for one in upset.asked[-100:])
