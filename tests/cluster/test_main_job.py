"""The main job: apply, ask, be answered by exactly the weights in the bucket, and pay nothing once asleep."""

import json
import re
import time
from decimal import Decimal
from pathlib import Path

import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionUserMessageParam

from dev.engine.standin.checksum import checksum_objects
from dev.install.checkpoint import write_checkpoint
from tests.cluster.apiserver import DEPLOYMENTS, until
from tests.cluster.space import Space
from torpor.api.endpoint import InferenceEndpoint

pytestmark = pytest.mark.cluster

ASKED: list[ChatCompletionUserMessageParam] = [{"role": "user", "content": "say hello"}]
SLOW = {"STANDIN_TOKENS_PER_SECOND": "10", "STANDIN_REPLY_TOKENS": "20"}
"""Two seconds for each answer: the second one meets a pod that Kubernetes, too, calls ready."""
REASONABLE_SECONDS = 20.0
"""From `kubectl apply` to Ready=True: "within seconds", with a loaded two-core machine in mind."""


def test_the_main_job_end_to_end(space: Space, tmp_path: Path) -> None:
    source = f"s3://t-tests/{space.name}/"
    write_checkpoint(tmp_path, megabytes=8, seed=space.name)
    space.torpor.bucket.put(tmp_path, source)
    fingerprint = checksum_objects(dict(space.torpor.bucket.read(source)))
    began = time.time()
    space.apply(space.compose("tiny", keep_alive="5s", switches=SLOW, source=source))
    ready = space.wait_condition("tiny", "Ready", timeout=REASONABLE_SECONDS)
    print(f"Ready=True {time.time() - began:.1f} s after apply")
    assert ready.status.replicas == 0
    assert ready.status.cost.per_second == "0"
    assert Decimal(ready.status.cost.spent or "1") == 0
    assert not space.pods("tiny")
    with space.api.watching(space.path(DEPLOYMENTS)) as deployments:
        client = OpenAI(base_url=space.torpor.url, api_key="none", max_retries=0, timeout=120)
        model = f"{space.name}/tiny"
        first = client.chat.completions.create(model=model, messages=ASKED, max_tokens=20)
        assert first.choices[0].message.content
        assert first.system_fingerprint == fingerprint
        text, prints, used = "", set(), None
        for chunk in client.chat.completions.create(
            model=model,
            messages=ASKED,
            max_tokens=20,
            stream=True,
            stream_options={"include_usage": True},
        ):
            text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
            prints.add(chunk.system_fingerprint)
            used = chunk.usage or used
        client.close()
        assert text
        assert fingerprint in prints
        assert used is not None
        assert first.usage is not None
        awake = _awake_row(space)
        print(awake)
        asleep = space.wait_asleep("tiny")
    prompt = first.usage.prompt_tokens + used.prompt_tokens
    completion = first.usage.completion_tokens + used.completion_tokens
    assert (asleep.status.tokens.prompt, asleep.status.tokens.completion) == (prompt, completion)
    steps = [obj["spec"].get("replicas", 0) for _, _, obj in deployments.of("tiny")]
    assert [a for a, b in zip(steps, [None, *steps], strict=False) if a != b] == [0, 1, 0]
    _check_sleeping(space, asleep)
    _check_events(space)


def _awake_row(space: Space) -> dict[str, str]:
    """Wait for the row of a serving endpoint and check it against design.md §1."""
    row = until(
        "a row that costs",
        lambda: _row(space) if _row(space)["COST/H"] not in ("", "0") else None,
        10,
    )
    assert list(row) == [
        "NAME",
        "READY",
        "STATE",
        "REPLICAS",
        "GPU",
        "COST/S",
        "COST/H",
        "SPENT",
        "SAVED",
        "AGE",
    ]
    assert (row["NAME"], row["READY"], row["GPU"]) == ("tiny", "True", "l40s")
    assert (row["COST/S"], row["COST/H"]) == ("0.000517", "1.861")
    row = until(
        "Serving",
        lambda: _row(space) if _row(space)["STATE"] in ("Serving", "KeepingWarm") else None,
        10,
    )
    assert row["REPLICAS"] == "1/1"
    return row


def _row(space: Space) -> dict[str, str]:
    printed = space.torpor.table(space.name).splitlines()
    starts = [found.start() for found in re.finditer(r"\S+", printed[0])]
    ends = [*starts[1:], 10_000]
    return {
        printed[0][a:b].strip(): printed[1][a:b].strip() for a, b in zip(starts, ends, strict=True)
    }


def _check_sleeping(space: Space, endpoint: InferenceEndpoint) -> None:
    cost = endpoint.status.cost
    row = _row(space)
    print(row)
    print(json.dumps(cost.to_dict()["gpuMs"]))
    assert (row["READY"], row["STATE"], row["REPLICAS"]) == ("True", "Idle", "0/1")
    assert (row["COST/S"], row["COST/H"]) == ("0", "0")
    assert Decimal(cost.spent or "0") > 0
    assert cost.estimated_ms == 0
    assert cost.gpu_ms.starting > 0
    assert cost.gpu_ms.busy > 0
    assert cost.gpu_ms.idle > 0
    assert cost.gpu_ms.terminating > 0
    (paid,) = cost.rows
    exact = Decimal(cost.gpu_ms.total) / 3_600_000 * Decimal(str(paid.per_gpu_hour))
    assert abs(Decimal(cost.spent or "0") - exact) <= exact / 1000
    assert endpoint.status.wakes.count == 1
    found = {c.type: (c.status, c.reason) for c in endpoint.status.conditions}
    assert found == {
        "Ready": ("True", "CanAnswer"),
        "Awake": ("False", "Idle"),
        "Placed": ("True", "PlacedOnClass"),
        "WeightsReady": ("True", "WeightsOnNodes"),
    }


def _check_events(space: Space) -> None:
    events = space.api.items(f"/api/v1/namespaces/{space.name}/events")
    ours = [e for e in events if e["involvedObject"]["kind"] == "InferenceEndpoint"]
    reasons = {event["reason"] for event in ours}
    assert {"CanAnswer", "WarmingUp", "Idle"} <= reasons
    assert all(event["type"] == "Normal" for event in ours), ours
