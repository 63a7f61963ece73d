from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from tests.cluster_room.kubeapi import Asked, KubeApi, until
from torpor.cluster.connect import Api
from torpor.cluster.lease import Lease, Lost, Pace

LEASE = "/apis/coordination.k8s.io/v1/namespaces/torpor-system/leases/torpor"
PACE = Pace(duration=1, renew=0.05, request=0.5)


def candidate(api: Api, name: str, pace: Pace = PACE) -> Lease:
    return Lease(api, "torpor-system", "torpor", name, pace)


def spec(kube: KubeApi) -> dict[str, Any]:
    found: dict[str, Any] = kube.objects[LEASE]["spec"]
    return found


async def test_the_first_candidate_makes_the_lease(kube: KubeApi, api: Api) -> None:
    await candidate(api, "one").acquire()
    assert spec(kube)["holderIdentity"] == "one"
    assert (spec(kube)["leaseDurationSeconds"], spec(kube)["leaseTransitions"]) == (1, 0)
    assert spec(kube)["acquireTime"] == spec(kube)["renewTime"]


async def test_a_lease_given_up_is_taken_at_once_and_counted(kube: KubeApi, api: Api) -> None:
    one = candidate(api, "one")
    await one.acquire()
    await one.release()
    assert spec(kube)["holderIdentity"] == ""
    await asyncio.wait_for(candidate(api, "two").acquire(), 0.5)
    assert (spec(kube)["holderIdentity"], spec(kube)["leaseTransitions"]) == ("two", 1)


async def test_renewing_moves_the_renewal_and_nothing_else(kube: KubeApi, api: Api) -> None:
    one = candidate(api, "one")
    await one.acquire()
    first = dict(spec(kube))
    holding = asyncio.create_task(one.hold())
    await until(lambda: spec(kube)["renewTime"] != first["renewTime"])
    holding.cancel()
    assert spec(kube) | {"renewTime": ""} == first | {"renewTime": ""}


async def test_a_candidate_waits_while_the_holder_renews_and_takes_over_when_it_is_silent(
    kube: KubeApi, api: Api
) -> None:
    one, two = candidate(api, "one"), candidate(api, "two")
    await one.acquire()
    holding = asyncio.create_task(one.hold())
    waiting = asyncio.create_task(two.acquire())
    await asyncio.sleep(1.2)  # longer than the duration: only renewals keep the other out
    assert spec(kube)["holderIdentity"] == "one"
    assert not waiting.done()
    holding.cancel()
    await asyncio.wait_for(waiting, 5)
    assert spec(kube)["holderIdentity"] == "two"


async def test_of_two_that_want_it_at_once_one_gets_it(kube: KubeApi, api: Api) -> None:
    candidates = [candidate(api, name) for name in ("one", "two", "three")]
    tasks = [asyncio.create_task(c.acquire()) for c in candidates]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.sleep(0.1)
    assert [task.done() for task in tasks].count(True) == 1
    for task in tasks:
        task.cancel()


async def test_a_renewal_that_meets_another_write_is_tried_again(kube: KubeApi, api: Api) -> None:
    one = candidate(api, "one")
    await one.acquire()
    meddled: list[Asked] = []

    def meddle(asked: Asked) -> None:
        if asked.method == "PUT" and not meddled:
            meddled.append(asked)
            kube.put(LEASE, kube.objects[LEASE])

    kube.before = meddle
    holding = asyncio.create_task(one.hold())
    await until(lambda: len([a for a in kube.asked if a.method == "PUT"]) > 2)
    assert not holding.done()
    holding.cancel()


async def test_who_waits_knows_who_holds_it(kube: KubeApi, api: Api) -> None:
    await candidate(api, "one").acquire()
    two = candidate(api, "two")
    waiting = asyncio.create_task(two.acquire())
    await until(lambda: two.holder == "one")
    waiting.cancel()


async def test_who_finds_another_holder_has_lost_at_once(kube: KubeApi, api: Api) -> None:
    one = candidate(api, "one", Pace(duration=60, renew=0.02))
    await one.acquire()
    other = kube.objects[LEASE]
    kube.put(LEASE, other | {"spec": other["spec"] | {"holderIdentity": "two"}})
    with pytest.raises(Lost, match="held by two"):
        await asyncio.wait_for(one.hold(), 5)


async def test_who_gets_no_answer_has_lost_before_anybody_may_take_over(
    kube: KubeApi, api: Api
) -> None:
    slow = Pace(duration=1, renew=0.2, request=30)
    one = candidate(api, "one", slow)
    await one.acquire()
    began = time.monotonic()
    kube.silent = asyncio.Event()
    with pytest.raises(Lost, match=r"not renewed for 0\.8 s"):
        await one.hold()
    assert time.monotonic() - began < slow.duration  # the rule itself: given up before it runs out
    kube.silent.set()


async def test_giving_up_while_the_server_is_gone_is_no_error(kube: KubeApi, api: Api) -> None:
    one = candidate(api, "one")
    await one.acquire()
    await kube.stop()
    await one.release()


async def test_nobody_gives_up_what_another_holds(kube: KubeApi, api: Api) -> None:
    await candidate(api, "one").acquire()
    await candidate(api, "two").release()
    assert spec(kube)["holderIdentity"] == "one"
