"""The meter's benchmark: its truth is made by hand here, and its virtual hour finds a ledger that is wrong."""

from __future__ import annotations

import pytest

from bench.frame import hour
from bench.frame.ledgers import Life, ListPrice, difference, expected, lives_of, told
from bench.frame.runtime import Ends
from tests.cluster.apiserver import Json, Seen

T0 = 1_795_000_000_000
PRICES = [ListPrice("a", "1"), ListPrice("b", "2"), ListPrice("b", "3", T0 + 20_000)]
EXIT = (
    "2026-11-26 00:33:47.834459648 +0000 UTC k8s.io /tasks/exit "
    '{{"container_id":"{0}","exit_status":137,"exited_at":"{1}","id":"{2}","pid":1}}\n'
)


def life(gpu_class: str = "a", ready: int | None = 5, deleted: int = 30, end: int = 40) -> Life:
    at = None if ready is None else T0 + ready * 1000
    return Life(gpu_class, T0, at, T0 + deleted * 1000, T0 + end * 1000)


def phases(starting: int = 0, serving: int = 0, terminating: int = 0) -> dict[str, int]:
    return {
        "starting": starting * 1000,
        "serving": serving * 1000,
        "terminating": terminating * 1000,
    }


def test_lives_add_up_by_class_and_a_dated_price_cuts_them() -> None:
    assert expected([life(), life(ready=None)], PRICES) == {("a", "1"): phases(35, 25, 20)}
    assert expected([life("b")], PRICES) == {
        ("b", "2"): phases(5, 15),
        ("b", "3"): phases(0, 10, 10),
    }


def test_a_pod_that_never_was_ready_is_a_failed_start() -> None:
    assert life(ready=None).failed
    assert life(ready=31).failed
    assert not life(ready=30).failed  # in the second of its deletion
    assert not life().failed


def test_the_status_is_read_by_class_and_price() -> None:
    row: Json = {"gpuClass": "a", "perGPUHour": "1", "gpuMs": {"busy": 2, "idle": 3}}
    nothing: Json = {"gpuClass": "b", "perGPUHour": "2", "gpuMs": {"busy": 0}}
    unknown: Json = {"gpuClass": "c", "gpuMs": {"starting": 1}}
    assert told({"rows": [row, nothing, unknown]}) == {
        ("a", "1"): {"starting": 0, "serving": 5, "terminating": 0},
        ("c", "unknown"): {"starting": 1, "serving": 0, "terminating": 0},
    }


def test_every_missing_millisecond_counts() -> None:
    one = {("a", "1"): phases(5, 25, 10)}
    other = {("a", "1"): phases(5, 24, 10), ("b", "2"): phases(1)}
    assert difference(one, one) == 0
    assert difference(one, other) == difference(other, one) == 2000


def test_the_runtime_s_end_is_cut_to_the_second_and_commands_inside_do_not_count() -> None:
    ends = Ends()
    ends.take(EXIT.format("c1", "2026-11-26T00:33:47.834459648Z", "c1"))
    ends.take(EXIT.format("c2", "2026-11-26T00:33:47.5Z", "an-exec"))
    ends.take('2026-11-26 00:33:47 +0000 UTC k8s.io /tasks/start {"container_id":"c3"}\n')
    assert ends.of("c1") == 1_795_653_227_000
    assert (ends.of("c2"), ends.of("c3"), len(ends)) == (None, None, 1)


def pod(kind: str, **status: object) -> tuple[float, str, Json]:
    labels = {
        "torpor.dev/endpoint": "pair",
        "torpor.dev/component": "engine",
        "torpor.dev/gpu-class": "a",
    }
    metadata: Json = {"uid": "u", "labels": labels, "deletionTimestamp": "2026-11-26T00:34:10Z"}
    metadata["deletionGracePeriodSeconds"] = 30
    condition = {"status": "True", "lastTransitionTime": "2026-11-26T00:33:00Z"}
    conditions = [condition | {"type": "PodScheduled"}]
    running = {"name": "engine", "containerID": "containerd://c1", "state": {"running": {}}}
    own = {"conditions": conditions, "containerStatuses": [running]} | status
    return 0.0, kind, {"metadata": metadata, "status": own}


def test_a_life_ends_when_the_runtime_says_so() -> None:
    pods, ends = Seen([pod("MODIFIED")]), Ends()
    with pytest.raises(LookupError, match="no end of pod u"):
        lives_of(pods, ends, "pair")
    ends.take(EXIT.format("c1", "2026-11-26T00:33:47.8Z", "c1"))
    (found,) = lives_of(pods, ends, "pair")
    assert (found.finished - found.scheduled, found.deleted - found.scheduled) == (47_000, 40_000)
    assert lives_of(pods, ends, "other") == []


def test_the_virtual_hour_holds_and_would_notice() -> None:
    found = hour.play(kills=30, seed=11)
    assert (found.kills, found.difference, found.estimated) == (30, 0, 0)
    assert found.gpu_ms > 1_000_000
    assert found.lost_writes > 0


def test_a_meter_that_forgets_at_a_restart_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hour, "_read_back", lambda meter: type(meter)(rows=meter.rows))
    assert hour.play(kills=30, seed=11).difference > 0
