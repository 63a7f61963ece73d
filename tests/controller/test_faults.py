from __future__ import annotations

import json
from typing import Any

import pytest

from tests.controller import podstates as states
from tests.controller.podstates import FETCHED, RUNNING, container, ended, pod
from torpor.api.conditions import Reason
from torpor.controller.faults import fault_of, termination_message
from torpor.domain.observation import Fault

Json = dict[str, Any]


def waiting(reason: str, message: str = "") -> Json:
    return {"waiting": {"reason": reason, "message": message}}


def fault(*containers: Json, init: Json = FETCHED) -> Fault | None:
    status = {"initContainerStatuses": [init], "containerStatuses": list(containers)}
    return fault_of(pod(status))


@pytest.mark.parametrize(
    "state",
    [states.PENDING, states.UNSCHEDULABLE, states.SCHEDULED, states.FETCHING, states.LOADING,
     states.READY, states.TERMINATING, states.TERMINATED],
    ids=["pending", "unschedulable", "scheduled", "fetching", "loading", "ready", "terminating",
         "ended well"],
)  # fmt: skip
def test_what_takes_its_time_is_no_fault(state: Json) -> None:
    assert fault_of(state) is None


@pytest.mark.parametrize("reason", ["ContainerCreating", "PodInitializing", "CrashLoopBackOff"])
def test_waiting_alone_proves_nothing(reason: str) -> None:
    assert fault(container("engine", waiting(reason))) is None


@pytest.mark.parametrize(
    "reason", ["ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"]
)
def test_an_image_that_cannot_be_pulled_is_named(reason: str) -> None:
    found = fault(container("engine", waiting(reason, "manifest unknown")))
    message = "image example.com/engine:1 cannot be pulled: manifest unknown"
    assert found == Fault(Reason.IMAGE_PULL_FAILED, message)
    assert reason in str(fault(container("engine", waiting(reason))))


def test_a_secret_that_is_missing_is_named() -> None:
    state = waiting("CreateContainerConfigError", 'secret "s3-key" not found')
    found = fault(container("engine", states.WAITING), init=container("weights", state))
    assert found is not None
    assert found.reason == Reason.WEIGHTS_SECRET_NOT_FOUND
    assert 'secret "s3-key" not found' in found.message


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("couldn't find key AWS_ACCESS_KEY_ID in Secret ml/s3", Reason.WEIGHTS_SECRET_NOT_FOUND),
        ('configmap "ca" not found', Reason.WEIGHTS_SECRET_NOT_FOUND),
        ("container has runAsNonRoot and image will run as root", Reason.WEIGHTS_INTERNAL),
    ],
)
def test_only_a_missing_reference_is_called_one(said: str, reason: Reason) -> None:
    state = waiting("CreateContainerConfigError", said)
    found = fault(container("engine", states.WAITING), init=container("weights", state))
    assert found is not None
    assert (found.reason, said in found.message) == (reason, True)


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        (
            "CreateContainerConfigError",
            "failed to sync secret cache: timed out waiting for the condition",
        ),
        ("CreateContainerError", "context deadline exceeded"),
        (
            "CreateContainerConfigError",
            'failed to create subPath directory for volumeMount "torpor-weights" of container "weights"',
        ),
    ],
)
def test_what_the_kubelet_tries_again_by_itself_is_no_fault(reason: str, message: str) -> None:
    state = waiting(reason, message)
    assert fault(container("engine", state)) is None
    assert fault(container("engine", states.WAITING), init=container("weights", state)) is None


def test_a_config_error_of_the_engine_is_the_engines() -> None:
    state = waiting("CreateContainerConfigError", 'configmap "x" not found')
    found = fault(container("engine", state))
    assert found is not None
    assert (found.reason, "engine cannot be created" in found.message) == ("EngineCrashed", True)


@pytest.mark.parametrize("restarted", [False, True], ids=["ended", "waits for its restart"])
@pytest.mark.parametrize("retryable", [False, True])
def test_what_prewarm_left_behind_is_the_fault(restarted: bool, retryable: bool) -> None:
    words = {"reason": "WeightsAccessDenied", "message": "key AK1 may not list s3://b/p/"}
    state = ended("21:00:05", 1, "Error", json.dumps(words | {"retryable": retryable}))
    status = container("weights", state)
    if restarted:
        status = container("weights", waiting("CrashLoopBackOff"), lastState=state)
    found = fault(container("engine", states.WAITING), init=status)
    assert found == Fault(Reason.WEIGHTS_ACCESS_DENIED, words["message"], retryable)


@pytest.mark.parametrize("said", ["", "Traceback: boom", "[1, 2]", '{"reason": "NotAWord"}'])
def test_prewarm_that_left_no_words_of_its_own_still_failed(said: str) -> None:
    found = fault(init=container("weights", ended("21:00:05", 137, "OOMKilled", said)))
    assert found is not None
    assert found.retryable
    assert found.message


@pytest.mark.parametrize("restarted", [False, True])
def test_a_crashed_engine_ends_with_its_last_words(restarted: bool) -> None:
    log = "INFO starting\nValueError: Unknown quantization method: x. Must be one of …\n\n"
    state = ended("21:00:10", 1, "Error", log)
    status = container("engine", state)
    if restarted:
        status = container("engine", RUNNING, lastState=state, restartCount=1)
    found = fault(status)
    assert found is not None
    assert found.reason == Reason.ENGINE_CRASHED
    assert "exit code 1" in found.message
    assert "Unknown quantization method: x" in found.message
    assert "INFO" not in found.message


@pytest.mark.parametrize(
    "log",
    [
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
        "ValueError: No available memory for the cache blocks. Try increasing …",
        "ValueError: To serve at least one request, 2.0 GiB KV cache is needed, which is larger than "
        "the available KV cache memory (1.2 GiB)",
        "ValueError: Free memory on device (1/48 GiB) on startup is less than desired GPU memory "
        "utilization (0.9, 43.2 GiB)",
    ],
    ids=["cuda", "no blocks", "kv cache", "utilization"],
)
def test_an_engine_without_memory_is_told_from_other_crashes(log: str) -> None:
    found = fault(
        container("engine", ended("21:00:10", 1, "Error", f"{log}\nRuntimeError: see above"))
    )
    assert found is not None
    assert found.reason == Reason.ENGINE_OUT_OF_MEMORY


def test_an_engine_that_the_kernel_killed_used_too_much_main_memory() -> None:
    found = fault(container("engine", ended("21:00:10", 137, "OOMKilled")))
    assert found is not None
    assert found.reason == Reason.ENGINE_OUT_OF_MEMORY
    assert "main memory" in found.message


def test_an_engine_that_ends_well_again_and_again_is_a_fault() -> None:
    status = container("engine", waiting("CrashLoopBackOff"), lastState=ended("21:00:10", 0))
    assert fault(status) is not None
    assert fault(container("engine", ended("21:00:10", 0))) is None


def test_long_words_are_cut() -> None:
    found = fault(container("engine", waiting("ErrImagePull", "x" * 5000)))
    assert found is not None
    assert len(found.message) < 500
    assert found.message.endswith("…")
    crashed = fault(container("engine", ended("21:00:10", 1, "Error", "ValueError: " + "y" * 5000)))
    assert crashed is not None
    assert len(crashed.message) < 500


def test_the_termination_message_of_the_latest_end_counts() -> None:
    old, new = ended("1", 1, "Error", '{"hash": "old"}'), ended("2", 0, "", '{"hash": "new"}')
    assert termination_message({"state": new, "lastState": old}) == {"hash": "new"}
    assert termination_message({"state": RUNNING, "lastState": old}) == {"hash": "old"}
    assert termination_message({}) == {}
