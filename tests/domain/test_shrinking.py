"""From N replicas to fewer while requests run: which goes, when, and that nobody is cut off."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.domain.scaling_views import NOW, READY, STARTING
from torpor.api.conditions import Reason
from torpor.domain.observation import Demand, GatewayReport, PodSeen, Workload
from torpor.domain.scaling import decide
from torpor.domain.scalingview import Needed, ScalingSpec, ScalingView
from torpor.domain.shrinking import HEARD_MS, Mark, marks, need_of, spare_pod

KEEP = 60_000
SPEC = ScalingSpec(max_replicas=8, in_flight_per_replica=10, keep_alive_ms=KEEP)
ONE, TWO, THREE = (replace(READY, uid=uid, name=uid) for uid in ("one", "two", "three"))
LONG_AGO = Needed((NOW, NOW - KEEP, NOW - KEEP))


def gateways(as_of: int = NOW, silent: tuple[str, ...] = (), **on_pods: int) -> Demand:
    total = sum(on_pods.values())
    half = {uid: count // 2 for uid, count in on_pods.items()}
    rest = {uid: count - half[uid] for uid, count in on_pods.items()}
    reports = (
        GatewayReport("gw-1", as_of, 1, in_flight=sum(half.values()), on_pods=half),
        GatewayReport("gw-2", as_of, 1, in_flight=total - sum(half.values()), on_pods=rest),
    )
    return Demand(reports, silent)


def view(
    *pods: PodSeen, demand: Demand, needed: Needed = LONG_AGO, replicas: int = 3
) -> ScalingView:
    return ScalingView(Workload(exists=True, replicas=replicas), pods, demand, needed=needed)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 8)), min_size=1, max_size=30))
def test_each_number_of_replicas_has_its_own_time(steps: list[tuple[int, int]]) -> None:
    needed = Needed()
    for now, (need, replicas) in enumerate(steps, 1):
        needed = needed.seen(need, replicas, now)
        assert len(needed.at_ms) == replicas
        assert all(at == now for at in needed.at_ms[:need])
    assert needed.last(len(needed.at_ms) + 1) is None
    assert needed.last(0) is None


def test_what_was_never_looked_at_begins_now() -> None:
    assert Needed().seen(1, 3, NOW) == Needed((NOW, NOW, NOW))
    assert Needed((5, 4)).seen(1, 4, 9) == Needed((9, 4, 9, 9))
    assert Needed((5, 4, 3)).seen(0, 1, 9) == Needed((5,))


def test_the_pod_with_the_fewest_requests_is_spare() -> None:
    seen = view(ONE, TWO, THREE, demand=gateways(one=4, two=2, three=3))
    assert need_of(SPEC, seen) == 1
    assert spare_pod(SPEC, seen, NOW) == TWO
    assert list(marks(seen, TWO)) == [Mark(TWO, True)]


def test_of_equals_the_youngest_goes() -> None:
    young = replace(TWO, first_ready_ms=NOW - 1)
    assert spare_pod(SPEC, view(ONE, young, THREE, demand=gateways(one=1)), NOW) == young


def test_who_is_marked_stays_it_although_another_has_fewer_by_now() -> None:
    marked = replace(ONE, spare_ms=NOW - 1000)
    seen = view(marked, TWO, THREE, demand=gateways(one=4, two=2, three=3))
    assert spare_pod(SPEC, seen, NOW) == marked
    assert list(marks(seen, marked)) == []


@pytest.mark.parametrize(
    "seen",
    [
        view(ONE, TWO, THREE, demand=gateways(one=12, two=9)),
        view(ONE, TWO, THREE, demand=gateways(one=1), needed=Needed((NOW, NOW, NOW - KEEP + 1))),
        view(ONE, TWO, THREE, demand=gateways(one=1), needed=Needed()),
        view(ONE, TWO, THREE, demand=gateways(one=1, silent=("gw-3",))),
        view(ONE, TWO, STARTING, demand=gateways(one=1)),
        view(ONE, TWO, demand=gateways(one=1)),
        view(ONE, demand=gateways(one=1), needed=Needed((0,)), replicas=1),
    ],
    ids=[
        "needed",
        "not for long",
        "never counted",
        "unknown",
        "starting",
        "one is missing",
        "last",
    ],
)
def test_nobody_is_spare(seen: ScalingView) -> None:
    assert spare_pod(SPEC, seen, NOW) is None


def test_minimum_and_schedules_are_no_spares() -> None:
    seen = view(ONE, TWO, THREE, demand=gateways(one=1))
    assert spare_pod(replace(SPEC, min_replicas=3), seen, NOW) is None


def test_a_spare_pod_goes_when_its_last_request_has_ended() -> None:
    marked = replace(TWO, spare_ms=NOW - HEARD_MS)
    busy = decide(SPEC, view(ONE, marked, THREE, demand=gateways(one=4, two=1)), NOW)
    assert (busy.replicas, busy.reason, busy.look_again_ms) == (None, Reason.SERVING, NOW + 1000)
    assert busy.message == "1 of 3 replicas are needed; two goes when its 1 requests have ended"
    idle = decide(SPEC, view(ONE, marked, THREE, demand=gateways(one=4)), NOW)
    assert (idle.replicas, idle.message) == (2, "1 of 3 replicas are needed")


@pytest.mark.parametrize(
    ("spare_ms", "as_of"), [(NOW - HEARD_MS + 1, NOW), (NOW - HEARD_MS, NOW - 1)]
)
def test_not_before_every_gateway_has_seen_the_mark(spare_ms: int, as_of: int) -> None:
    marked = replace(TWO, spare_ms=spare_ms)
    found = decide(SPEC, view(ONE, marked, THREE, demand=gateways(as_of, one=4)), NOW)
    assert found.replicas is None


def test_if_it_is_needed_again_the_mark_is_taken_off() -> None:
    marked = replace(TWO, spare_ms=NOW - 5000)
    seen = view(ONE, marked, THREE, demand=gateways(one=10, two=10, three=9))
    assert list(marks(seen, spare_pod(SPEC, seen, NOW))) == [Mark(marked, False)]


def test_while_the_pod_goes_no_mark_is_changed() -> None:
    marked = replace(TWO, spare_ms=NOW - 5000)
    seen = view(ONE, marked, THREE, demand=gateways(one=1), replicas=2)
    assert list(marks(seen, spare_pod(SPEC, seen, NOW))) == []


def test_the_end_of_the_time_is_looked_at() -> None:
    needed = Needed((NOW, NOW, NOW - 10_000))
    found = decide(SPEC, view(ONE, TWO, THREE, demand=gateways(one=4), needed=needed), NOW)
    assert (found.reason, found.look_again_ms) == (Reason.SERVING, NOW - 10_000 + KEEP)


def test_when_nobody_has_asked_for_so_long_all_go_at_once() -> None:
    reports = (GatewayReport("gw-1", NOW, 1, last_byte_ms=NOW - KEEP),)
    found = decide(SPEC, view(ONE, TWO, THREE, demand=Demand(reports)), NOW)
    assert (found.replicas, found.reason) == (0, Reason.IDLE)
