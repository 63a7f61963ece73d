from __future__ import annotations

from typing import Any

import pytest

from tests.cluster_room.kubeapi import KubeApi
from tests.controller.stage import Stage
from torpor import clock
from torpor.api.status import EndpointStatus
from torpor.cluster.connect import Api
from torpor.cluster.objects import Objects
from torpor.controller.events import post_events

Json = dict[str, Any]
EVENTS = "/api/v1/namespaces/ml/events"
ENDPOINT: Json = {
    "metadata": {"name": "tiny", "namespace": "ml", "uid": "uid-ie", "resourceVersion": "7"}
}


def status(**conditions: tuple[str, str]) -> EndpointStatus:
    since = "2026-11-23T21:00:00Z"
    return EndpointStatus.model_validate(
        {
            "conditions": [
                {
                    "type": kind,
                    "status": value,
                    "reason": reason,
                    "message": f"{kind} is {value}",
                    "lastTransitionTime": since,
                }
                for kind, (value, reason) in conditions.items()
            ]
        }
    )


async def events(
    kube: KubeApi, api: Api, before: EndpointStatus, after: EndpointStatus
) -> list[Json]:
    await post_events(Objects(api), ENDPOINT, before, after, "controller-1")
    assert {(a.method, a.path) for a in kube.asked} <= {("POST", EVENTS)}
    return [asked.body for asked in kube.asked]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        pytest.param(None, ("False", "Idle"), True, id="the first"),
        pytest.param(("True", "Serving"), ("True", "KeepingWarm"), False, id="a lull"),
        pytest.param(("True", "KeepingWarm"), ("True", "Serving"), False, id="a request"),
        pytest.param(("True", "Serving"), ("True", "Serving"), False, id="nothing new"),
        pytest.param(("True", "KeepingWarm"), ("False", "Idle"), True, id="sleep"),
        pytest.param(("False", "Idle"), ("Unknown", "WarmingUp"), True, id="wake"),
        pytest.param(("Unknown", "WarmingUp"), ("Unknown", "Pending"), True, id="another reason"),
        pytest.param(("Unknown", "WarmingUp"), ("True", "Serving"), True, id="awake"),
        pytest.param(("Unknown", "Serving"), ("True", "KeepingWarm"), True, id="other status"),
    ],
)
async def test_people_hear_of_what_is_notable(
    kube: KubeApi, api: Api, old: tuple[str, str] | None, new: tuple[str, str], told: bool
) -> None:
    before = status() if old is None else status(Awake=old)
    found = await events(kube, api, before, status(Awake=new))
    assert [event["reason"] for event in found] == ([new[1]] if told else [])


async def test_a_fault_is_a_warning_about_this_endpoint(kube: KubeApi, api: Api) -> None:
    before = status(Ready=("True", "CanAnswer"), Awake=("True", "Serving"))
    after = status(Ready=("False", "EngineCrashed"), Awake=("False", "Failed"))
    ready, awake = await events(kube, api, before, after)
    assert (ready["type"], ready["message"]) == ("Warning", "Ready is False")
    assert awake["type"] == "Normal"  # one warning is enough
    about = ready["involvedObject"]
    assert (about["kind"], about["name"], about["uid"]) == ("InferenceEndpoint", "tiny", "uid-ie")
    assert ready["metadata"]["namespace"] == "ml"
    assert ready["metadata"]["name"] != awake["metadata"]["name"]


async def test_other_conditions_make_no_events(kube: KubeApi, api: Api) -> None:
    after = status(Placed=("False", "NoGPUClass"), Stalled=("True", "WaitingForChange"))
    assert await events(kube, api, status(), after) == []


async def test_that_weights_are_checked_is_said_as_such(kube: KubeApi, api: Api) -> None:
    before = status(Ready=("Unknown", "CheckingWeights"))
    (event,) = await events(kube, api, before, status(Ready=("True", "CanAnswer")))
    assert event["message"] == "weights checked; the endpoint will answer"


@pytest.mark.parametrize("refusal", [403, 404, 500])
async def test_a_namespace_that_takes_no_events_stops_nothing(
    kube: KubeApi, api: Api, refusal: int
) -> None:
    kube.refuse[f"POST {EVENTS}"] = (refusal, "the namespace is being terminated")
    after = status(Ready=("True", "CanAnswer"), Awake=("False", "Idle"))
    told = await events(kube, api, status(), after)
    assert len({event["reason"] for event in told}) == 2


async def test_a_steady_client_causes_no_write_a_request(stage: Stage) -> None:
    await stage.make_ready()
    stage.run_pod()
    stage.report = {"inFlight": 1}
    await stage.demand.ask()
    await stage.step()
    await stage.step()
    stage.kube.asked.clear()
    due: int | None = None
    for number in range(12):
        last = clock.now_ms() - (6_000 if number % 3 == 2 else 0)  # now and then a lull
        stage.report = {"inFlight": number % 3 % 2, "lastByteAtMs": last}
        stage.report |= {"tokens": {"prompt": 10 * number, "completion": number}}
        await stage.demand.ask()
        due = await stage.step()
    assert stage.kube.writes() == []
    assert due is not None
    assert 0 < due - clock.now_ms() <= 1_000  # when what has moved is written together


def _weights(state: str, name: str = "n1", **words: Any) -> EndpointStatus:
    node = {"name": name, "state": state} | words
    return EndpointStatus.model_validate(
        {"weights": {"hash": "a" * 32, "bytes": 2_000_000_000, "nodes": [node]}}
    )


async def test_a_download_between_regions_is_told_with_what_it_will_cost(
    kube: KubeApi, api: Api
) -> None:
    moving = {
        "fromRegion": "eu-west-1", "toRegion": "eu-central-1", "nodes": 2, "bytes": 4_000_000_000,
    }  # fmt: skip
    for cost in ({"cost": "0.08"}, {}):
        words = _weights("Fetching").to_dict()
        words["cost"] = {"currency": "USD", "egress": {"predicted": moving | cost}}
        after = EndpointStatus.model_validate(words)
        await post_events(Objects(api), ENDPOINT, EndpointStatus(), after, "controller-1")
    route = "n1 downloads 2.00 GB of weights; 2 nodes fetch 4.00 GB from region eu-west-1 to eu-central-1"
    assert [a.body["message"] for a in kube.asked] == [
        f"{route}, 0.08 USD of egress",
        f"{route}; what that costs is unknown: no GPUClass in eu-west-1 has price.egressPerGiB in USD",
    ]


async def test_a_download_is_told_at_its_start_its_end_and_its_failure(
    kube: KubeApi, api: Api
) -> None:
    queued, fetching = _weights("Queued"), _weights("Fetching", percent=3)
    further = _weights("Fetching", percent=50)
    ready, failed = _weights("Ready", verified="crc64nvme"), _weights("Failed", message="disk full")
    for before, after in [
        (EndpointStatus(), queued), (queued, fetching), (fetching, further), (further, ready),
        (ready, ready), (fetching, failed),
    ]:  # fmt: skip
        await post_events(Objects(api), ENDPOINT, before, after, "controller-1")
    told = [a.body for a in kube.asked if a.method == "POST"]
    assert [(e["type"], e["reason"], e["message"]) for e in told] == [
        ("Normal", "WeightsFetching", "n1 downloads 2.00 GB of weights"),
        ("Normal", "WeightsOnNodes", "n1 has 2.00 GB of weights, verified by crc64nvme"),
        ("Warning", "WeightsInternal", "n1: disk full"),
    ]
