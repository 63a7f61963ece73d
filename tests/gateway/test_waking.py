"""From a request at zero to its answer: one write, the right N, and nothing lost on the way."""

from __future__ import annotations

import asyncio

import pytest

from tests.gateway.apiserver import PODS
from tests.gateway.conftest import MakeWorld
from tests.gateway.world import READY, World, until
from torpor.api.endpoint import own_name

KEY = "shop/llama"


async def test_a_request_at_zero_writes_once_and_is_answered_when_the_pod_answers(
    world: World,
) -> None:
    world.sleeping()
    await world.lists("llama")
    asked = world.asking()
    await until(lambda: world.api.patches)
    key, body, manager = world.api.patches[0]
    assert (key, manager) == (KEY, "torpor-gateway")
    assert body == [
        {"op": "test", "path": "/spec", "value": {}},
        {"op": "add", "path": "/spec/replicas", "value": 1},
    ]
    engine = await world.engine("llama")
    world.pod(engine, ready=False)
    status, answer, headers = await asked
    assert (status, answer["model"]) == (200, "llama")
    assert int(headers["x-torpor-waited-ms"]) > 0
    assert len(world.api.patches) == 1
    demand = await world.demand()
    (wake,) = demand["wakes"]
    assert wake["atMs"] <= wake["patchedMs"] <= wake["podSeenMs"] <= wake["healthyMs"]
    assert wake["healthyMs"] <= wake["firstByteMs"]


async def test_a_hundred_first_requests_are_one_write_sized_for_all(world: World) -> None:
    scaling = {"maxReplicas": 10, "inFlightPerReplica": 32}
    world.endpoint(
        ready=None, scaling=scaling
    )  # held, so that all are there however slow the machine
    world.deployment()
    await world.lists("llama")
    asked = [world.asking(number=n) for n in range(100)]
    await world.waiting(100)
    assert not world.api.patches
    world.endpoint(scaling=scaling)
    await until(lambda: world.api.patches)
    engine = await world.engine("llama")
    for n in range(4):
        world.pod(engine, f"pod-{n}")
    answers = await asyncio.gather(*asked)
    assert [status for status, _, _ in answers] == [200] * 100
    assert len(world.api.patches) == 1
    assert world.api.replicas(KEY) == 4


async def test_n_never_exceeds_max_replicas(world: World) -> None:
    world.sleeping(scaling={"maxReplicas": 2, "inFlightPerReplica": 1})
    await world.lists("llama")
    asked = [world.asking() for _ in range(9)]
    await until(lambda: world.api.patches)
    assert world.api.patches[0][1][1]["value"] == 2
    world.pod(await world.engine("llama"))
    await asyncio.gather(*asked)


async def test_several_gateways_race_harmlessly(make_world: MakeWorld) -> None:
    world = await make_world(gateways=3)
    world.sleeping()
    for number in range(3):
        await world.lists("llama", gateway=number)
    world.api.patch_gate = asyncio.Event()
    asked = [world.asking(gateway=number) for number in range(3)]
    await until(lambda: len(world.api.patches) == 3)
    world.api.patch_gate.set()
    await until(lambda: world.api.replicas(KEY) == 1)
    world.pod(await world.engine("llama"))
    assert [status for status, _, _ in await asyncio.gather(*asked)] == [200] * 3
    wakes = [len((await world.demand(gateway=n))["wakes"]) for n in range(3)]
    assert sorted(wakes) == [0, 0, 1]


async def test_a_write_that_fails_is_tried_again(world: World) -> None:
    world.sleeping()
    await world.lists("llama")
    world.api.patch_answers = [500, 429]
    asked = world.asking()
    await until(lambda: world.api.replicas(KEY) == 1)
    assert len(world.api.patches) == 3
    world.pod(await world.engine("llama"))
    assert (await asked)[0] == 200


async def test_a_token_that_is_being_rotated_refuses_nobody(world: World) -> None:
    world.sleeping()
    await world.lists("llama")
    world.api.patch_answers = [401]
    asked = world.asking()
    await until(lambda: world.api.replicas(KEY) == 1)
    world.pod(await world.engine("llama"))
    assert (await asked)[0] == 200


@pytest.mark.parametrize("starting", [True, False], ids=["it starts", "it has just started"])
async def test_an_api_server_that_starts_forbids_nothing_for_good(
    world: World, starting: bool
) -> None:
    world.sleeping()
    await world.lists("llama")
    world.api.starting = starting
    world.api.patch_answers = [403, 403] if starting else [403]
    asked = world.asking()
    await until(lambda: world.api.replicas(KEY) == 1)
    world.pod(await world.engine("llama"))
    assert (await asked)[0] == 200


async def test_a_forbidden_write_is_told_at_once(world: World) -> None:
    world.sleeping()
    await world.lists("llama")
    world.api.patch_answers = [403, 403]
    status, answer, _ = await world.ask()
    assert (status, answer["error"]["code"]) == (503, "WakeDenied")
    assert "made up 403" in answer["error"]["message"]


async def test_a_wake_that_somebody_undoes_is_written_again(world: World) -> None:
    world.sleeping()
    await world.lists("llama")
    asked = world.asking()
    await until(lambda: world.api.replicas(KEY) == 1)
    world.api.scale(KEY, 0)
    await until(lambda: len(world.api.patches) == 2 and world.api.replicas(KEY) == 1)
    world.pod(await world.engine("llama"))
    assert (await asked)[0] == 200


async def test_without_a_deployment_the_request_is_held_until_there_is_one(world: World) -> None:
    world.endpoint()
    await world.lists("llama")
    asked = world.asking()
    await world.waiting(1)
    assert world.api.patches == []
    world.deployment()
    await until(lambda: world.api.patches)
    world.pod(await world.engine("llama"))
    assert (await asked)[0] == 200


@pytest.mark.parametrize("ready", [None, READY | {"status": "Unknown"}], ids=["absent", "unknown"])
async def test_while_nobody_knows_whether_it_can_wake_requests_are_held_unwoken(
    world: World, ready: dict[str, str] | None
) -> None:
    world.endpoint(ready=ready)
    world.deployment()
    await world.lists("llama")
    asked = world.asking()
    await world.waiting(1)
    assert world.api.patches == []
    world.endpoint()
    await until(lambda: world.api.patches)
    world.pod(await world.engine("llama"))
    assert (await asked)[0] == 200


async def test_waiters_go_out_in_order_and_never_more_than_a_pod_may_have(world: World) -> None:
    world.sleeping(scaling={"inFlightPerReplica": 4})
    await world.lists("llama")
    asked = []
    for number in range(12):
        asked.append(world.asking(number=number))
        await world.waiting(number + 1)
    engine = await world.engine("llama")
    engine.gate = asyncio.Event()
    world.pod(engine)
    await until(lambda: engine.running == 4)
    demand = await world.demand()
    assert (demand["waiting"], demand["inFlight"]) == (8, 4)
    engine.gate.set()
    await asyncio.gather(*asked)
    assert engine.most == 4
    numbers = [int(body.split(b'"number": ')[1].split(b"}")[0]) for _, _, body in engine.requests]
    assert [sorted(numbers[n : n + 4]) for n in (0, 4, 8)] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9, 10, 11],
    ]


async def test_a_pod_of_another_endpoint_with_the_same_model_is_not_used(world: World) -> None:
    world.sleeping()
    await world.lists("llama")
    asked = world.asking()
    await until(lambda: world.api.patches)
    engine = await world.engine("llama")
    world.pod(engine)
    ours, engine.names = engine.names, ["llama", own_name("mall", "llama")]
    await until(lambda: engine.connections)
    assert not asked.done()
    engine.names = ours
    assert (await asked)[0] == 200


async def test_the_first_request_uses_the_connection_of_the_probe(world: World) -> None:
    world.sleeping()
    await world.lists("llama")
    asked = world.asking()
    engine = await world.engine("llama")
    world.pod(engine)
    await asked
    assert len(engine.connections) == 1


async def test_a_leaving_pod_gets_no_new_requests_and_its_running_one_ends(world: World) -> None:
    engine = await world.awake()
    engine.between = asyncio.Event()
    running = world.asking(stream=True)
    await until(lambda: engine.running)
    world.pod(
        engine,
        ready=True,
        deletionTimestamp="2026-01-02T03:04:05Z",
        deletionGracePeriodSeconds=30,
    )
    other = await world.engine("llama")
    world.pod(other, "pod-2", ready=True)
    await world.sees("pod-2")
    assert (await world.ask())[0] == 200
    assert len(other.requests) == 1
    engine.between.set()
    status, text, _ = await running
    assert status == 200
    assert text.endswith(b"data: [DONE]\n\n")


async def test_pods_that_vanish_park_those_who_come_and_wake_again(world: World) -> None:
    engine = await world.awake()
    assert (await world.ask())[0] == 200
    world.api.scale(KEY, 0)
    world.api.delete(PODS, "shop/pod-1")
    await engine.stop()
    asked = world.asking()
    await until(lambda: world.api.patches)
    world.pod(await world.engine("llama"), "pod-2")
    assert (await asked)[0] == 200


async def test_awake_endpoints_need_no_api_server(world: World) -> None:
    await world.awake()
    await world.api.stop()
    for _ in range(5):
        assert (await world.ask())[0] == 200
    assert (await world.internal("/readyz"))[0] == 200


async def test_a_wake_asked_for_while_the_api_server_is_away_is_written_when_it_is_back(
    world: World,
) -> None:
    world.sleeping()
    await world.lists("llama")
    await world.api.stop()
    asked = world.asking()
    await world.waiting(1)
    await world.api.start()
    await until(lambda: world.api.replicas(KEY) == 1)
    world.pod(await world.engine("llama"))
    assert (await asked)[0] == 200
