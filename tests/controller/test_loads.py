"""The engines of endpoints that may grow are asked how full they are; the others are left alone."""

from __future__ import annotations

from typing import Any

import pytest

from tests.controller.stage import KEY, Stage
from torpor.controller.engines import Engines
from torpor.controller.loads import LoadPoller
from torpor.controller.seen import Key
from torpor.domain.engineload import EngineLoad
from torpor.domain.observation import PodSeen


class Telling(Engines):
    """Engines that say what they are told to."""

    def __init__(self, *said: EngineLoad | None) -> None:
        super().__init__()
        self._said = list(said)
        self.asked = 0

    async def load(self, pod: PodSeen) -> EngineLoad | None:
        self.asked += 1
        return self._said.pop(0)


async def awake(stage: Stage, **scaling: Any) -> None:
    await stage.make_ready(scaling=scaling)
    stage.run_pod()


async def looks(stage: Stage, *said: EngineLoad | None) -> tuple[LoadPoller, list[Key]]:
    touched: list[Key] = []
    engines = Telling(*said)
    poller = LoadPoller(stage.seen, engines, touched.append)
    for _ in said:
        await poller.ask()
    await engines.close()
    assert engines.asked == len(said)
    return poller, touched


QUEUE = EngineLoad(4, 12)


async def test_two_looks_that_agree_touch_the_endpoint_once(stage: Stage) -> None:
    await awake(stage, maxReplicas=8)
    poller, touched = await looks(stage, QUEUE, QUEUE, QUEUE)
    assert poller.asking(KEY).replicas == 4
    assert touched == [KEY]


async def test_an_engine_that_does_not_answer_changes_nothing(stage: Stage) -> None:
    await awake(stage, maxReplicas=8)
    poller, touched = await looks(stage, QUEUE, QUEUE, None)
    assert poller.asking(KEY).replicas == 4
    assert touched == [KEY]


@pytest.mark.parametrize("scaling", [{}, {"maxReplicas": 1}])
async def test_where_nothing_can_grow_nobody_is_asked(
    stage: Stage, scaling: dict[str, int]
) -> None:
    await awake(stage, **scaling)
    engines = Telling()
    await LoadPoller(stage.seen, engines, stage.touched.append).ask()
    await engines.close()
    assert engines.asked == 0


async def test_what_has_gone_to_sleep_is_forgotten(stage: Stage) -> None:
    await awake(stage, maxReplicas=8)
    poller, _ = await looks(stage, QUEUE, QUEUE)
    stage.kube.delete("/api/v1/namespaces/ml/pods/tiny-1")
    await poller.ask()
    assert poller.asking(KEY).replicas == 0
