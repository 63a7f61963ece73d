"""The Lease is renewed while the loop that works is busy; that loop hears of a loss, or the process ends."""

from __future__ import annotations

import asyncio
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.cluster_room.kubeapi import KubeApi, until
from torpor.cluster.connect import Api, connect
from torpor.cluster.leading import Keeper
from torpor.cluster.lease import Lease, Lost, Pace

LEASE = "/apis/coordination.k8s.io/v1/namespaces/torpor-system/leases/torpor"
PACE = Pace(duration=1, renew=0.05, request=0.5)


def lease_over(api: Api) -> Lease:
    return Lease(api, "torpor-system", "torpor", "one", PACE)


@pytest.fixture
def ended() -> threading.Event:
    return threading.Event()


@pytest.fixture
def keeper(api: Api, tmp_path: Path, ended: threading.Event) -> Keeper:
    """With connections of its own by the kubeconfig of *api*."""
    return Keeper(partial(connect, str(tmp_path / "kubeconfig")), lease_over, ended.set)


def renewals(kube: KubeApi) -> int:
    return sum(asked.method == "PUT" for asked in kube.asked)


def taken_by(kube: KubeApi, name: str) -> None:
    lease = kube.objects[LEASE]
    kube.put(LEASE, lease | {"spec": lease["spec"] | {"holderIdentity": name}})


async def in_another_loop(coroutine: Any) -> Any:
    """Run it as the controller does, in a loop of its own; this loop is the API server's."""
    return await asyncio.to_thread(asyncio.run, coroutine)


async def test_a_busy_loop_does_not_cost_the_lease(kube: KubeApi, api: Api, keeper: Keeper) -> None:
    await lease_over(api).acquire()
    counts = []

    async def work() -> None:
        holding = asyncio.create_task(keeper.hold())
        await asyncio.sleep(0.2)
        counts.append(renewals(kube))
        time.sleep(2 * PACE.duration)  # a loop that does not come round
        counts.append(renewals(kube))
        assert not holding.done()
        holding.cancel()
        await asyncio.wait({holding})

    await in_another_loop(work())
    assert counts[1] >= counts[0] + 2 * PACE.duration / PACE.deadline


async def test_what_is_cancelled_renews_no_more(kube: KubeApi, api: Api, keeper: Keeper) -> None:
    await lease_over(api).acquire()
    holding = asyncio.create_task(keeper.hold())
    await until(lambda: renewals(kube) >= 2)
    holding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await holding
    count = renewals(kube)
    await until(lambda: "lease" not in {thread.name for thread in threading.enumerate()})
    await asyncio.sleep(3 * PACE.renew)
    assert renewals(kube) == count


async def test_what_is_cancelled_before_it_began_renews_not_at_all(
    kube: KubeApi, api: Api, keeper: Keeper
) -> None:
    await lease_over(api).acquire()
    holding = asyncio.create_task(keeper.hold())
    await asyncio.sleep(0)
    holding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await holding
    count = renewals(kube)
    await asyncio.sleep(3 * PACE.renew)
    assert renewals(kube) == count


async def test_who_works_hears_that_it_is_lost(
    kube: KubeApi, api: Api, keeper: Keeper, ended: threading.Event
) -> None:
    await lease_over(api).acquire()
    taken_by(kube, "two")
    with pytest.raises(Lost, match="held by two"):
        await keeper.hold()
    assert not ended.is_set()


async def test_who_is_too_busy_to_hear_of_the_loss_is_ended(
    kube: KubeApi,
    api: Api,
    keeper: Keeper,
    ended: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torpor.cluster.leading.LAST_WORDS_SECONDS", 0.2)
    await lease_over(api).acquire()

    async def work() -> bool:
        holding = asyncio.create_task(keeper.hold())
        await asyncio.sleep(0.2)
        taken_by(kube, "two")
        was_ended = ended.wait(10)  # the loop is stuck here, as in a computation without end
        await asyncio.wait({holding})
        return was_ended

    assert await in_another_loop(work())
