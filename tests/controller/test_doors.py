"""The Service of a direct endpoint on its way through a life: who is behind it, in which order, and what goes when."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.cluster_room.kubeapi import KubeApi
from tests.controller.stage import DEPLOYMENT, ENDPOINT, KEY, METRICS, Stage, stamp
from torpor import clock
from torpor.api.endpoint import InferenceEndpoint
from torpor.controller.counters import CounterPoller
from torpor.controller.doors import Doors
from torpor.domain.leading import SETTLE_MS
from torpor.manifests import names

Json = dict[str, Any]
SERVICE = "/api/v1/namespaces/ml/services/tiny-direct"
ENGINES = "/apis/discovery.k8s.io/v1/namespaces/ml/endpointslices/tiny-direct-engines"
GATEWAYS = "/apis/discovery.k8s.io/v1/namespaces/ml/endpointslices/tiny-direct-gateways"
POD = "/api/v1/namespaces/ml/pods/tiny-1"
DIRECT = {"direct": True}
PORT = names.DIRECT_PORTS[0]


@pytest.fixture
async def direct(stage: Stage) -> Stage:
    """A direct endpoint that sleeps, and whose gateway has opened its port."""
    await stage.make_ready(access=DIRECT, scaling={"keepAlive": {"policy": "fixed", "after": "1m"}})
    stage.doors = {"ml/tiny": stage.status()["direct"]["port"]}
    await stage.demand.ask()
    await stage.step()
    return stage


def behind(kube: KubeApi) -> tuple[list[str], list[str]]:
    """The addresses of both sides: engines, gateways."""
    found = []
    for path in (ENGINES, GATEWAYS):
        slice_ = kube.objects[path]
        (port,) = slice_["ports"]
        found.append([f"{one['addresses'][0]}:{port['port']}" for one in slice_["endpoints"]])
    return found[0], found[1]


async def wake(stage: Stage, idle_seconds: float = 0) -> None:
    """Run a ready pod whose engine answers, and which was asked through the gateway that long ago."""
    await stage.start_engine()
    stage.run_pod()
    stage.report = {"lastByteAtMs": clock.now_ms() - round(idle_seconds * 1000)}
    await stage.demand.ask()
    await stage.counters.ask()
    await stage.step()


async def edit(stage: Stage, **spec: Any) -> None:
    """Change the spec as a user would."""
    changed = copy.deepcopy(stage.kube.objects[ENDPOINT])
    changed["spec"] |= spec
    stage.kube.put(ENDPOINT, changed)
    await stage.step()


def settled(stage: Stage) -> None:
    """Let the time pass in which nothing may go."""
    older = copy.deepcopy(stage.kube.objects[ENGINES])
    notes = older["metadata"]["annotations"]
    notes[names.LED_SINCE] = str(int(notes[names.LED_SINCE]) - SETTLE_MS)
    stage.kube.put(ENGINES, older)


GATEWAY_ALONE: tuple[list[str], list[str]] = ([], [f"127.0.0.1:{PORT}"])
ENGINE_ALONE: tuple[list[str], list[str]] = (["127.0.0.77:8000"], [])


async def test_asleep_it_leads_to_the_gateways_that_listen_for_it(stage: Stage) -> None:
    await stage.make_ready(access=DIRECT)
    assert stage.status()["direct"]["port"] == PORT
    assert behind(stage.kube) == ([], [])  # nobody listens yet
    stage.doors = {"ml/tiny": PORT + 1}
    await stage.demand.ask()
    await stage.step()
    assert behind(stage.kube) == ([], [])
    assert stage.status().get("url") is None
    stage.doors = {"ml/tiny": PORT}
    stage.touched.clear()
    await stage.demand._poll()
    assert stage.touched == [KEY]
    await stage.step()
    assert behind(stage.kube) == GATEWAY_ALONE
    assert stage.status()["url"] == "http://tiny-direct.ml.svc/v1"
    service = stage.kube.objects[SERVICE]
    assert "selector" not in service["spec"]
    assert service["metadata"]["ownerReferences"][0]["uid"] == "uid-ie"
    stage.kube.asked.clear()
    await stage.step()
    assert stage.kube.writes() == []


async def test_awake_it_leads_to_the_engine_and_whoever_joins_is_written_first(
    direct: Stage,
) -> None:
    assert behind(direct.kube) == GATEWAY_ALONE
    direct.kube.asked.clear()
    await wake(direct)
    assert behind(direct.kube) == ENGINE_ALONE
    assert [w for w in direct.kube.writes() if "slices" in w] == [
        f"PATCH {ENGINES}", f"PATCH {GATEWAYS}",
    ]  # fmt: skip


async def test_it_goes_to_sleep_in_time_through_the_gateways(direct: Stage) -> None:
    await wake(direct, idle_seconds=30)
    assert behind(direct.kube) == ENGINE_ALONE
    due = await direct.step()
    assert due is not None
    assert due <= direct.report["lastByteAtMs"] + 60_000 - SETTLE_MS
    direct.kube.asked.clear()
    await edit(direct, scaling={"keepAlive": {"policy": "fixed", "after": "35s"}})
    assert behind(direct.kube) == GATEWAY_ALONE
    assert [w for w in direct.kube.writes() if "slices" in w] == [
        f"PATCH {GATEWAYS}", f"PATCH {ENGINES}",
    ]  # fmt: skip
    await edit(direct, scaling={"keepAlive": {"policy": "fixed", "after": "25s"}})
    assert direct.replicas() == 1  # its time is over, but not the time to settle
    assert direct.condition("Awake") == ("True", "KeepingWarm")
    settled(direct)
    await direct.step()
    assert direct.replicas() == 0
    assert behind(direct.kube) == GATEWAY_ALONE


@pytest.mark.parametrize("way", ["gateway", "engine"])
async def test_who_asks_meanwhile_leads_back_to_the_engine(direct: Stage, way: str) -> None:
    await wake(direct, idle_seconds=70)
    settled(direct)
    assert behind(direct.kube) == GATEWAY_ALONE
    if way == "gateway":
        direct.report["lastByteAtMs"] = clock.now_ms()
    else:
        direct.metrics = METRICS.format(running=0, finished=1, prompt=9)
    await direct.step()  # asks everybody once more before anything goes
    assert direct.replicas() == 1
    await direct.step()
    assert behind(direct.kube) == ENGINE_ALONE
    assert direct.replicas() == 1


async def test_an_engine_that_does_not_answer_keeps_it_awake(direct: Stage) -> None:
    await wake(direct, idle_seconds=70)
    settled(direct)
    direct.metrics = ""
    await direct.counters.ask()
    await direct.step()
    assert direct.demand.demand(KEY).silent == ("tiny-1",)
    assert direct.replicas() == 1


async def test_without_a_gateway_to_take_over_it_stays_awake(direct: Stage) -> None:
    await wake(direct, idle_seconds=10)
    gone = copy.deepcopy(next(iter(direct.seen.gateways.values())))
    gone["status"]["conditions"] = [{"type": "Ready", "status": "False"}]
    direct.seen.take_pod(gone, False, clock.now_ms())
    direct.report["lastByteAtMs"] -= 60_000
    await direct.demand.ask()
    await direct.step()
    assert behind(direct.kube) == ENGINE_ALONE
    assert direct.replicas() == 1


async def test_a_pod_that_is_told_to_end_is_led_past_at_once(direct: Stage) -> None:
    await wake(direct)
    leaving = copy.deepcopy(direct.kube.objects[POD])
    leaving["metadata"] |= {
        "deletionTimestamp": stamp(), "deletionGracePeriodSeconds": 90,
    }  # fmt: skip
    direct.kube.put(POD, leaving)
    await direct.step()
    assert behind(direct.kube) == GATEWAY_ALONE


async def test_a_gateway_that_stops_is_led_past_and_one_that_was_led_to_is_trusted(
    direct: Stage,
) -> None:
    direct.doors = {}  # as for a controller that has just started and heard of nobody
    await direct.demand.ask()
    await direct.step()
    assert behind(direct.kube) == GATEWAY_ALONE
    leaving = copy.deepcopy(next(iter(direct.seen.gateways.values())))
    leaving["metadata"]["deletionTimestamp"] = stamp()
    direct.seen.take_pod(leaving, False, clock.now_ms())
    await direct.step()
    assert behind(direct.kube) == ([], [])


async def test_what_is_not_direct_any_more_has_no_service(direct: Stage) -> None:
    await edit(direct, access={"direct": False})
    assert not {SERVICE, ENGINES, GATEWAYS} & direct.kube.objects.keys()
    assert DEPLOYMENT in direct.kube.objects
    assert "direct" not in direct.status()


async def test_a_spec_that_makes_no_pod_leaves_the_port_with_the_endpoint(direct: Stage) -> None:
    await edit(direct, template={"spec": {"containers": "none"}})
    assert direct.condition("Ready")[0] == "False"
    assert direct.status()["direct"]["port"] == PORT
    assert behind(direct.kube) == GATEWAY_ALONE


async def test_a_service_of_that_name_that_is_not_its_own_is_left_alone(stage: Stage) -> None:
    theirs = {
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "tiny-direct", "namespace": "ml",
                     "ownerReferences": [{"uid": "x", "kind": "Other", "name": "o"}]},
        "spec": {"selector": {"app": "theirs"}},
    }  # fmt: skip
    stage.kube.put(SERVICE, theirs)
    await stage.make_ready(access=DIRECT)
    assert stage.kube.objects[SERVICE]["spec"] == theirs["spec"]
    assert stage.condition("Ready") == ("False", "NameConflict")


async def test_a_controller_that_begins_anew_goes_on_where_the_last_one_was(
    direct: Stage,
) -> None:
    await wake(direct, idle_seconds=70)
    doors = Doors(direct.seen, direct.reconciler._t.children, direct.demand)
    way = doors.way(KEY)
    assert (way.engines, way.gateways) == (frozenset(), 1)
    assert 0 <= clock.now_ms() - way.since_ms < 60_000


async def test_ports_are_given_once_and_those_of_others_are_left_to_them(direct: Stage) -> None:
    other = ("ml", "other")
    direct.seen.endpoints[other] = {
        "metadata": {"name": "other", "namespace": "ml"}, "status": {"direct": {"port": PORT + 1}},
    }  # fmt: skip
    third = copy.deepcopy(direct.seen.endpoints[KEY])
    third["metadata"]["name"], third["status"] = "third", {}
    direct.seen.endpoints["ml", "third"] = third
    doors = direct.reconciler._t.doors
    given = doors.given(("ml", "third"), InferenceEndpoint.model_validate(third))
    assert given is not None
    assert given.port == PORT + 2


async def test_tokens_and_busy_time_come_from_the_engine(direct: Stage) -> None:
    await direct.start_engine()
    direct.run_pod(engine_seconds_ago=-2)  # it starts after the endpoint has become direct
    await direct.counters.ask()
    await direct.step()
    direct.metrics = METRICS.format(running=2, finished=0, prompt=7)
    direct.touched.clear()
    await direct.counters.ask()
    assert direct.touched == [KEY]
    demand = direct.demand.demand(KEY)
    assert demand.in_flight == 2
    direct.metrics = METRICS.format(running=0, finished=2, prompt=30)
    await direct.counters.ask()
    await edit(direct, queue={"maxWait": "5m"})  # which is written at once, and the figures with it
    tokens = direct.status()["tokens"]
    assert (tokens["prompt"], tokens["completion"]) == (30, 30)
    uid = direct.kube.objects[POD]["metadata"]["uid"]
    ((start, end),) = direct.demand.demand(KEY).busy(uid)
    assert end is not None
    assert end >= start
    again = CounterPoller(direct.seen, direct._engines, direct.touched.append)
    await again.ask()
    known = again.completed(KEY, direct.demand.demand(KEY))
    assert known.known
    assert known.engines[0].last_active_ms is None  # the status has its tokens already


async def test_what_is_not_direct_is_not_asked(stage: Stage) -> None:
    await stage.make_ready()
    await stage.start_engine()
    stage.run_pod()
    await stage.counters.ask()
    demand = stage.demand.demand(KEY)
    assert (demand.direct, demand.engines, demand.silent) == (False, (), ())
