"""Real vLLM, run by torpor in a pod: asked at zero it wakes, answers, streams, sleeps, wakes again."""

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from dev.cluster import Cluster
from dev.install.installed import Installed, install
from dev.vllm.layout import Layout
from dev.vllm.pod import endpoint
from torpor.api.status import EndpointStatus

pytestmark = [pytest.mark.engine, pytest.mark.cluster]

NAMESPACE = "torpor-test-vllm"
NAME = "tiny-llama"
SOURCE = "s3://torpor-test-vllm/tiny-llama/"
KEEP_ALIVE_SECONDS = 5
LEFT_AFTER, LONG = 5, 900
"""Tokens after which a client leaves, of an answer that would have so many."""
START_SECONDS = 300.0
"""Longest start of vLLM on a machine that does other things too."""


@pytest.fixture(scope="module")
def torpor() -> Installed:
    """torpor as this checkout has it, in the harness's cluster."""
    return install(Cluster.up())


@pytest.fixture(scope="module")
def asleep(torpor: Installed, vllm_layout: Layout) -> Iterator[Installed]:
    """An endpoint for the tiny Llama, its weights on the node, nothing running."""
    torpor.kube.delete("namespace", NAMESPACE)
    torpor.make_namespace(NAMESPACE)
    torpor.make_s3_secret(NAMESPACE)
    torpor.bucket.put(vllm_layout.model, SOURCE)
    composed = endpoint(
        name=NAME,
        namespace=NAMESPACE,
        image=Cluster.up().image("vllm"),
        source=SOURCE,
        s3=torpor.s3_of(),
        layout=vllm_layout,
    )
    keep_alive = {"policy": "fixed", "after": f"{KEEP_ALIVE_SECONDS}s"}
    composed["spec"]["scaling"] = {"keepAlive": keep_alive}
    torpor.kube.apply(composed)
    torpor.wait_for_condition(NAMESPACE, NAME, "Ready")
    torpor.wait_for_condition(NAMESPACE, NAME, "WeightsReady")
    yield torpor
    torpor.kube.delete("namespace", NAMESPACE)


def replicas(torpor: Installed) -> int:
    found = torpor.kube.find("deployment", NAME, NAMESPACE)
    assert found is not None
    return int(found["spec"].get("replicas", 0))


def engine_pods(torpor: Installed) -> list[dict[str, Any]]:
    return torpor.kube.list("pods", NAMESPACE, "torpor.dev/component=engine")


def wait_for_sleep(torpor: Installed) -> None:
    """Wait until the endpoint is at zero and its pod is gone."""
    torpor.wait_for_condition(NAMESPACE, NAME, "Awake", "False", timeout=60)
    torpor.kube.wait_for(
        "end of the engine's pod", lambda: None if engine_pods(torpor) else True, timeout=120
    )


def leave_in_the_middle(client: openai.OpenAI, said: list[Any]) -> None:
    """Read a few tokens of a long answer, none of which shows the usage that torpor asks for, and go."""
    stream = client.chat.completions.create(
        model=NAME,
        messages=said,
        max_tokens=LONG,
        stream=True,
        extra_body={"ignore_eos": True},
    )
    with stream:
        seen = 0
        for chunk in stream:
            assert chunk.usage is None
            seen += bool(chunk.choices[0].delta.content)
            if seen == LEFT_AFTER:
                return


def test_it_wakes_answers_streams_sleeps_and_wakes_again(asleep: Installed) -> None:
    torpor = asleep
    assert replicas(torpor) == 0
    said: list[Any] = [{"role": "user", "content": "Bears sleep"}]
    with openai.OpenAI(
        base_url=torpor.url, api_key="none", max_retries=0, timeout=START_SECONDS
    ) as client:
        first = client.chat.completions.create(
            model=NAME, messages=said, max_tokens=12, temperature=0
        )
        assert first.model == NAME
        assert first.usage is not None
        assert first.usage.completion_tokens == 12
        prompt = first.usage.prompt_tokens
        assert first.system_fingerprint is not None
        assert first.system_fingerprint.startswith("vllm-")

        chunks = list(
            client.chat.completions.create(
                model=NAME,
                messages=said,
                max_tokens=12,
                temperature=0,
                stream=True,
                stream_options={"include_usage": True},
            )
        )
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert text == first.choices[0].message.content
        assert {chunk.usage for chunk in chunks[:-1]} == {None}
        assert chunks[-1].usage is not None
        assert chunks[-1].usage.completion_tokens == 12
        assert replicas(torpor) == 1

        wait_for_sleep(torpor)
        assert replicas(torpor) == 0

        again = client.chat.completions.create(
            model=NAME, messages=said, max_tokens=12, temperature=0
        )
        assert again.choices[0].message.content == text
        leave_in_the_middle(client, said)

    def counted() -> EndpointStatus | None:
        status = torpor.read(NAMESPACE, NAME).status
        return status if status.tokens.prompt >= 4 * prompt else None

    status = torpor.kube.wait_for("four prompts in the status", counted, timeout=30)
    assert status.tokens.prompt == 4 * prompt
    assert 36 + LEFT_AFTER <= status.tokens.completion < 36 + LONG
    assert status.wakes.count == 2
