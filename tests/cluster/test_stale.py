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

NAMESAKES = 6


def test_endpoints_made_again_under_their_names_answer_with_their_own_weights(
    space: Space, tmp_path: Path
) -> None:
    other = f"s3://t-tests/{space.name}/"
    write_checkpoint(tmp_path, megabytes=2, seed=space.name)
    space.torpor.bucket.put(tmp_path, other)
    sources = (space.weights, other)
    first, second = (checksum_objects(dict(space.torpor.bucket.read(one))) for one in sources)
    renewed = played(space, strangers.make_again(space, sources, (first, second), NAMESAKES))
    heard = Counter(one for asker in renewed.askers for one in asker.heard)
    print(f"{dict(heard)}; {renewed.reused} addresses used again by others")
    assert [asker.fault for asker in renewed.askers if asker.fault] == []
    assert renewed.reused >= 1


def check(upset: Upset) -> None:
    """Only what ran on the pod may fail, and is told so."""
    print(f"{len(upset.asked)} requests, {upset.proof}; lost: {tell_lost(upset.asked)}")
    failed = [one for one in upset.asked if not one.answered]
    assert len(failed) <= upset.proof["under way then"]
    assert all("engine_broke" in one.reason for one in failed)
    assert not [one for one in upset.asked if one.answered and one.lost]


def test_a_pod_deleted_by_force_fails_only_what_ran_on_it(space: Space) -> None:
    check(played(space, strangers.force_delete(space, 280)))


def test_a_node_that_is_gone_fails_only_what_ran_on_it(space: Space) -> None:
    check(played(space, strangers.silence_node(space, 280)))
