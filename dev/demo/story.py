"""The story: one endpoint from its first YAML to zero again, each step measured."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai

from dev.cluster import HarnessError
from dev.engine.standin.checksum import checksum_objects
from dev.install.checkpoint import write_checkpoint
from dev.install.installed import create_key
from dev.vllm.pod import endpoint as vllm_endpoint
from torpor.api.endpoint import InferenceEndpoint

from . import asking, figures
from .place import Place
from .telling import Narrator

NAMESPACE = "torpor-demo"
NAME = "marmot"
PREFIX = "marmot"
KEEP_ALIVE = 15
LOAD_SECONDS = 6
"""What the stand-in takes to load, so that there is something to wait for."""
TOKENS_PER_SECOND = 20
WARM_REQUESTS = 8
QUESTION = "What does a marmot do in winter, and what does that cost?"


class Story:
    """Everything after torpor is installed."""

    def __init__(self, place: Place, narrator: Narrator) -> None:
        self._place = place
        self._torpor = place.torpor
        self._tell = narrator
        self._source = f"s3://{place.bucket}/{PREFIX}/"
        self.key = ""

    def tell(self) -> None:
        """Go through all of it.

        Raises:
            HarnessError: a step failed, with one sentence about which and why.
        """
        try:
            fingerprint = self._put_weights()
            self._apply()
            self._turn_away()
            self._wake("the first request, while nothing runs", fingerprint)
            last_byte = self._ask_warm()
            self._fall_asleep(last_byte)
            self._wake("and again: asleep is not gone", fingerprint)
            self._bill()
        except openai.OpenAIError as refused:
            raise HarnessError(f"the request failed: {refused}\n{self._table()}") from refused

    def remove(self) -> None:
        """Delete the namespace with everything in it, and the weights in the bucket."""
        self._torpor.remove_namespace(NAMESPACE)
        self._torpor.bucket.remove(self._source)

    def say_how_to_try(self) -> None:
        """Tell whoever keeps it running what to try."""
        url = (
            "http://127.0.0.1:8000/v1" if "port-forward" in self._place.reach else self._torpor.url
        )
        body = json.dumps({"model": NAME, "messages": [{"role": "user", "content": "hello"}]})
        self._tell.chapter("it is yours")
        self._tell.say(f"URL  {url}\nkey  {self.key}")
        self._tell.show("  # first, in your shell:", self._place.reach)
        tries = [
            f"curl -N {url}/chat/completions -H 'Authorization: Bearer {self.key}'"
            f" -H 'Content-Type: application/json' -d '{body}'",
            f"kubectl get ie -n {NAMESPACE} -o wide --watch",
            f"kubectl get ie/{NAME} -n {NAMESPACE} -o jsonpath='{{.status.wakes.last}}'",
        ]
        self._tell.show("  # then, for example:", "\n".join(tries))

    # Chapters

    def _put_weights(self) -> str | None:
        """Upload the checkpoint; returns the fingerprint of what is in the bucket, None with real vLLM."""
        self._tell.chapter("weights, in the S3 bucket")
        bucket = self._torpor.bucket
        bucket_has = self._place.vllm
        if bucket_has is not None:
            sent = bucket.put(bucket_has.model, self._source)
            self._tell.say(f"a tiny random Llama: {sent / 1e6:.1f} MB at {self._source}")
            return None
        with tempfile.TemporaryDirectory() as folder:
            write_checkpoint(Path(folder))
            sent = bucket.put(Path(folder), self._source)
        fingerprint = checksum_objects(dict(bucket.read(self._source)))
        self._tell.say(
            f"config.json and model.safetensors, {sent / 1e6:.1f} MB of noise, at {self._source}\n"
            f"read back from the bucket, every byte: {fingerprint}"
        )
        return fingerprint

    def _apply(self) -> None:
        self._tell.chapter("an endpoint")
        kube = self._torpor.kube
        self._torpor.remove_namespace(NAMESPACE)
        self._torpor.make_namespace(NAMESPACE)
        self._torpor.make_s3_secret(NAMESPACE)
        self.key, entry = create_key("demo")
        self._tell.show(
            "torpor key create demo", "key (shown once) tp-…; its sha256 goes into the endpoint"
        )
        endpoint = self._compose(entry)
        shown = json.dumps(endpoint["spec"], separators=(", ", ": "))
        self._tell.show("kubectl apply -f endpoint.yaml", shown if len(shown) < 700 else "")
        began = time.monotonic()
        kube.apply(endpoint)
        ready = self._torpor.wait_for_condition(NAMESPACE, NAME, "Ready", timeout=90)
        took = time.monotonic() - began
        self._tell.say(f"Ready after {took:.1f} s: it would answer, and nothing runs")
        self._show_table()
        self._expect(ready.status.replicas == 0, "it holds a replica before anybody has asked")
        self._expect(ready.status.cost.per_second == "0", "it costs before anybody has asked")
        self._torpor.wait_for_condition(NAMESPACE, NAME, "WeightsReady", timeout=120)
        self._tell.say("weights are on the node, fetched and verified by a Job without a GPU")

    def _compose(self, key_entry: dict[str, Any]) -> dict[str, Any]:
        more: dict[str, Any] = {
            "scaling": {"keepAlive": {"policy": "fixed", "after": f"{KEEP_ALIVE}s"}},
            "access": {"keys": [key_entry]},
        }
        if self._place.vllm is None or self._place.vllm_image is None:
            switches = {
                "STANDIN_LOAD_SECONDS": str(LOAD_SECONDS),
                "STANDIN_TOKENS_PER_SECOND": str(TOKENS_PER_SECOND),
            }
            return self._torpor.endpoint(NAME, NAMESPACE, self._source, more, switches)
        composed = vllm_endpoint(
            name=NAME,
            namespace=NAMESPACE,
            image=self._place.vllm_image,
            source=self._source,
            s3=self._torpor.s3_of(),
        )
        composed["spec"].update(more)
        return composed

    def _turn_away(self) -> None:
        self._tell.chapter("a wrong key wakes nobody")
        listed = asking.open_client(self._torpor.url, self.key).models.list()
        self._expect(NAME in [model.id for model in listed], "it is not in /v1/models")
        self._tell.say(f"openai: models.list() has {NAME}, asleep as it is")
        client = asking.open_client(self._torpor.url, "tp-wrong")
        began = time.monotonic()
        try:
            asking.stream_chat(client, NAME, QUESTION)
        except openai.AuthenticationError as refused:
            took = (time.monotonic() - began) * 1000
            self._tell.say(f"openai.AuthenticationError after {took:.0f} ms: {refused.message}")
        else:
            raise HarnessError("a request with a wrong key was answered")
        replicas = self._torpor.kube.find("deployment", NAME, NAMESPACE)
        self._expect(
            replicas is not None and not replicas["spec"]["replicas"], "a wrong key woke it"
        )

    def _wake(self, title: str, fingerprint: str | None) -> None:
        self._tell.chapter(title)
        count = self._read().status.wakes.count
        client = asking.open_client(
            self._torpor.url, self.key, lambda line: self._tell.say(f"the stream says  {line}")
        )
        self._tell.say(f'openai: chat.completions.create(model="{NAME}", stream=True, …)')
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(asking.stream_chat, client, NAME, QUESTION)
            self._show_while_waking(asked)
            answer = asked.result()
        self._tell.say(
            f'first token after {answer.first_token:.2f} s, the last after {answer.last_byte:.2f} s:\n"{answer.text}"'
        )
        if fingerprint is not None:
            same = answer.fingerprint == fingerprint
            self._expect(
                same, f"fingerprint {answer.fingerprint} is not {fingerprint} of the bucket"
            )
            self._tell.say(
                f"system_fingerprint {answer.fingerprint} = the checksum of the bucket's bytes"
            )
        self._expect(bool(answer.text), "the answer is empty")
        wakes = self._torpor.kube.wait_for(
            "the wake in status.wakes", lambda: self._counted(count), timeout=15
        )
        last = wakes.status.wakes.last
        assert last is not None
        self._tell.say(
            "time to wake, by part (status.wakes.last):\n" + "\n".join(figures.wake_lines(last))
        )

    def _show_while_waking(self, asked: Future[asking.Answer]) -> None:
        """Show the table once while the request waits."""
        while not asked.done():
            awake = self._read().status.condition("Awake")
            if awake is not None and awake.reason == "WarmingUp":
                self._show_table()
                return
            time.sleep(0.2)

    def _ask_warm(self) -> float:
        """Ask some more; returns when the last byte came, in epoch seconds."""
        self._tell.chapter(f"{WARM_REQUESTS} more requests, at once, while it is awake")
        self._torpor.wait_for_condition(NAMESPACE, NAME, "Awake", reason="Serving", timeout=30)
        client = asking.open_client(self._torpor.url, self.key)
        with ThreadPoolExecutor(WARM_REQUESTS) as pool:
            asked = [
                pool.submit(asking.stream_chat, client, NAME, f"{QUESTION} ({n})")
                for n in range(WARM_REQUESTS)
            ]
            answers = [one.result() for one in asked]
        first = statistics.median(answer.first_token for answer in answers) * 1000
        tokens = sum(answer.completion_tokens for answer in answers)
        self._tell.say(f"all answered: {tokens} tokens, first token after {first:.0f} ms (median)")
        self._show_table()
        return max(answer.ended_at for answer in answers)

    def _fall_asleep(self, last_byte: float) -> None:
        self._tell.chapter(f"nobody asks for {KEEP_ALIVE} s")
        kube = self._torpor.kube
        with kube.watching("deployment", NAME, NAMESPACE, "{.spec.replicas}") as replicas:
            self._torpor.wait_for_condition(
                NAMESPACE, NAME, "Awake", reason="KeepingWarm", timeout=30
            )
            self._show_table()
            self._tell.say("ready and idle: every second costs")
            slept = replicas.until("0", timeout=KEEP_ALIVE + 30)
        after = slept - last_byte
        self._tell.say(f"replicas 0 written {after:.2f} s after the last byte")
        self._expect(abs(after - KEEP_ALIVE) <= 1.5, f"that is not {KEEP_ALIVE} s")
        self._torpor.wait_for_condition(NAMESPACE, NAME, "Awake", "False", "Draining", timeout=30)
        self._show_table()

        def gone() -> InferenceEndpoint | None:
            endpoint = self._read()
            awake = endpoint.status.condition("Awake")
            settled = awake is not None and awake.reason == "Idle" and not endpoint.status.cost.live
            return endpoint if settled else None

        kube.wait_for("the end of the engine's pod", gone, timeout=100)
        self._tell.say("the engine has ended, its GPU is free")
        self._show_table()

    def _bill(self) -> None:
        self._tell.chapter("what it cost")
        status = self._read().status
        self._tell.say("\n".join(figures.ledger_lines(status.cost, status.tokens)))
        self._tell.say(figures.cost_line(status.cost))

    # Small things

    def _read(self) -> InferenceEndpoint:
        return self._torpor.read(NAMESPACE, NAME)

    def _counted(self, before: int) -> InferenceEndpoint | None:
        endpoint = self._read()
        return endpoint if endpoint.status.wakes.count > before else None

    def _table(self) -> str:
        return self._torpor.table(NAMESPACE)

    def _show_table(self) -> None:
        self._tell.show(f"kubectl get ie -n {NAMESPACE}", self._table())

    def _expect(self, holds: bool, otherwise: str) -> None:
        if not holds:
            raise HarnessError(f"endpoint {NAMESPACE}/{NAME}: {otherwise}\n{self._table()}")
