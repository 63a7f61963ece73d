from __future__ import annotations

from dataclasses import replace

import pytest

from tests.cluster_room.kubeapi import KubeApi
from torpor.api.conditions import Reason
from torpor.cluster.connect import Api
from torpor.cluster.objects import Objects
from torpor.controller.lastwords import LOG_BYTES, explained, root_cause
from torpor.domain.observation import Fault, PodSeen

KEY = ("ml", "tiny")
LOG = "/api/v1/namespaces/ml/pods/tiny-1/log"
# As vLLM 0.32 ends when its core cannot start, shortened.
VLLM = """\
(APIServer pid=7) INFO 11-23 21:00:02 [api_server.py:1839] vLLM API server version 0.32.0
(EngineCore_DP0 pid=71) INFO 11-23 21:00:09 [core.py:64] Initializing a V1 LLM engine
(EngineCore_DP0 pid=71) ERROR 11-23 21:00:14 [core.py:708] EngineCore failed to start.
(EngineCore_DP0 pid=71) ERROR 11-23 21:00:14 [core.py:708] Traceback (most recent call last):
(EngineCore_DP0 pid=71) ERROR 11-23 21:00:14 [core.py:708]   File "/vllm/core.py", line 691, in run
(EngineCore_DP0 pid=71) ERROR 11-23 21:00:14 [core.py:708] KeyError: 'model.layers.0.weight'
(EngineCore_DP0 pid=71) Process EngineCore_DP0:
(EngineCore_DP0 pid=71) KeyError: 'model.layers.0.weight'
(APIServer pid=7) Traceback (most recent call last):
(APIServer pid=7)   File "/vllm/utils.py", line 733, in wait_for_engine_startup
(APIServer pid=7) RuntimeError: Engine core initialization failed. See root cause above.
"""
NO_MEMORY = """\
(EngineCore_DP0 pid=71) ERROR 11-23 21:00:14 [core.py:708] ValueError: No available memory for the cache blocks. \
Try increasing `gpu_memory_utilization` when initializing the engine.
(APIServer pid=7) RuntimeError: Engine core initialization failed. See root cause above.
"""


@pytest.mark.parametrize(
    ("log", "cause"),
    [
        pytest.param(VLLM, "KeyError: 'model.layers.0.weight'", id="the core's error wins"),
        pytest.param(
            "(APIServer pid=7) RuntimeError: Engine core initialization failed. See root cause above.\n" + VLLM,
            "KeyError: 'model.layers.0.weight'",
            id="wherever it stands",
        ),
        pytest.param(
            "starting\nValueError: bad --dtype\nRuntimeError: stopped",
            "ValueError: bad --dtype",
            id="without a core the first one",
        ),
        pytest.param(
            "  torch.cuda.OutOfMemoryError: CUDA out of memory  ",
            "torch.cuda.OutOfMemoryError: CUDA out of memory",
            id="with its module",
        ),
        pytest.param("Traceback (most recent call last):\n  killed", None, id="no error named"),
        pytest.param("INFO [x] ErrorRate: 3\nError: \nnoError: x", None, id="only alike"),
        pytest.param("", None, id="empty"),
    ],
)  # fmt: skip
def test_of_a_log_the_line_that_names_the_cause_is_found(log: str, cause: str | None) -> None:
    assert root_cause(log) == cause


CRASHED = PodSeen(
    "uid-1",
    "tiny-1",
    1,
    "l40s",
    restarts=1,
    fault=Fault(Reason.ENGINE_CRASHED, "the engine ended with exit code 1: see root cause above"),
)


@pytest.fixture
def objects(api: Api) -> Objects:
    return Objects(api)


async def test_a_crash_is_explained_by_its_log(kube: KubeApi, objects: Objects) -> None:
    kube.logs[LOG] = VLLM
    (pod,) = await explained(objects, KEY, [CRASHED], "")
    assert pod.fault is not None
    assert pod.fault.reason == "EngineCrashed"
    assert pod.fault.message.endswith("KeyError: 'model.layers.0.weight'")
    (asked,) = kube.asked
    assert asked.query["container"] == "engine"
    assert (asked.query["previous"], asked.query["limitBytes"]) == ("true", str(LOG_BYTES))


async def test_a_container_that_has_not_been_started_again_has_its_own_log(
    kube: KubeApi, objects: Objects
) -> None:
    kube.logs[LOG] = VLLM
    await explained(objects, KEY, [replace(CRASHED, restarts=0)], "")
    assert kube.asked[0].query["previous"] == "false"


async def test_a_log_that_tells_of_missing_memory_names_that_reason(
    kube: KubeApi, objects: Objects
) -> None:
    kube.logs[LOG] = NO_MEMORY
    (pod,) = await explained(objects, KEY, [CRASHED], "")
    assert pod.fault is not None
    assert pod.fault.reason == "EngineOutOfMemory"
    assert "No available memory for the cache blocks" in pod.fault.message


async def test_a_failure_that_is_known_is_not_read_again(kube: KubeApi, objects: Objects) -> None:
    kube.logs[LOG] = VLLM
    assert await explained(objects, KEY, [CRASHED], "uid-1") == (CRASHED,)
    assert kube.asked == []


@pytest.mark.parametrize(
    "pod",
    [
        replace(CRASHED, fault=None),
        replace(CRASHED, gone_ms=5),
        replace(CRASHED, first_ready_ms=5),
        replace(CRASHED, fault=Fault(Reason.IMAGE_PULL_FAILED, "no such image")),
    ],
    ids=["no fault", "gone", "was ready once", "another fault"],
)
async def test_nothing_is_read_of_a_pod_that_did_not_crash_at_its_start(
    kube: KubeApi, objects: Objects, pod: PodSeen
) -> None:
    kube.logs[LOG] = VLLM
    assert await explained(objects, KEY, [pod], "") == (pod,)
    assert kube.asked == []


@pytest.mark.parametrize("status", [400, 403, 404, 500])
async def test_a_log_that_cannot_be_read_leaves_the_last_words(
    kube: KubeApi, objects: Objects, status: int
) -> None:
    kube.refuse[f"GET {LOG}"] = (status, "no")
    assert await explained(objects, KEY, [CRASHED], "") == (CRASHED,)


async def test_a_log_that_names_no_error_leaves_the_last_words(
    kube: KubeApi, objects: Objects
) -> None:
    kube.logs[LOG] = "Killed\n"
    assert await explained(objects, KEY, [CRASHED], "") == (CRASHED,)


async def test_a_very_long_line_is_cut(kube: KubeApi, objects: Objects) -> None:
    kube.logs[LOG] = "ValueError: " + "x" * 5_000
    (pod,) = await explained(objects, KEY, [CRASHED], "")
    assert pod.fault is not None
    assert 400 < len(pod.fault.message) < 500
