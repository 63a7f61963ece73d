"""The story: one endpoint from its first YAML to zero again, each step measured."""

from __future__ import annotations

import json
import statistics
import time
from concurrent.futures import Future, ThreadPoolExecutor

import openai

from dev.cluster import HarnessError
from dev.install.installed import create_key

from . import asking, figures
from .place import Place
from .subject import KEEP_ALIVE, NAME, NAMESPACE, Subject
from .telling import Narrator

WARM_REQUESTS = 8
QUESTION = "What does a marmot do in winter, and what does that cost?"
TOLERANCE = 1.5
"""Seconds that the moment of falling asleep may be off as this process sees it: torpor's own bar is 1."""


class Story:
    """Everything after torpor is installed."""

    def __init__(self, place: Place, narrator: Narrator) -> None:
        self._place = place
        self._kube = place.torpor.kube
        self._url = place.torpor.url
        self._it = Subject(place)
        self._tell = narrator
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
            raise HarnessError(f"the request failed: {refused}\n{self._it.table()}") from refused

    def remove(self) -> None:
        """Take away everything that the story made."""
        self._it.remove()

    def say_how_to_try(self) -> None:
        """Tell whoever keeps it running what to try."""
        url = "http://127.0.0.1:8000/v1" if "port-forward" in self._place.reach else self._url
        body = json.dumps({"model": NAME, "messages": [{"role": "user", "content": "hello"}]})
        self._tell.chapter("it is yours")
        self._tell.say(f"URL  {url}\nkey  {self.key}")
        self._tell.say(f"first, in your shell:\n{self._place.reach}")
        tries = [
            f"curl {url}/chat/completions -H 'Authorization: Bearer {self.key}'"
            f" -H 'Content-Type: application/json' -d '{body}'",
            f"kubectl get ie -n {NAMESPACE} -o wide --watch",
            f"kubectl get ie/{NAME} -n {NAMESPACE} -o jsonpath='{{.status.wakes.last}}'",
        ]
        self._tell.say("then, for example:\n" + "\n".join(tries))

    # Chapters

    def _put_weights(self) -> str | None:
        """Return the fingerprint of what is in the bucket, None with real vLLM."""
        self._tell.chapter("weights, in the S3 bucket")
        sent = self._it.put_weights()
        fingerprint = self._it.fingerprint()
        what = "noise in the form of a checkpoint" if fingerprint else "a tiny random Llama"
        self._tell.say(f"{what}, {sent / 1e6:.1f} MB, at {self._it.source}")
        if fingerprint is not None:
            self._tell.say(f"read back from the bucket, every byte: {fingerprint}")
        return fingerprint

    def _apply(self) -> None:
        self._tell.chapter("an endpoint")
        self._it.make_room()
        self.key, entry = create_key("demo")
        self._tell.show(
            "torpor key create demo", "(the key stays here, its SHA-256 goes into the YAML)"
        )
        endpoint = self._it.compose(entry)
        told = {name: endpoint["spec"][name] for name in ("model", "scaling", "access")}
        self._tell.show(
            "kubectl apply -f endpoint.yaml",
            "\n".join(f"spec.{name}: {json.dumps(value)}" for name, value in told.items()),
        )
        began = time.monotonic()
        self._kube.apply(endpoint)
        ready = self._it.wait_until("Ready", timeout=90)
        took = time.monotonic() - began
        self._tell.say(f"Ready after {took:.1f} s: it would answer, and nothing runs")
        self._show_table()
        self._it.expect(ready.status.replicas == 0, "holds a replica before anybody has asked")
        self._it.expect(ready.status.cost.per_second == "0", "costs before anybody has asked")
        self._it.wait_until("WeightsReady", timeout=120)
        self._tell.say("the weights are on the node, fetched and verified by a Job without a GPU")

    def _turn_away(self) -> None:
        self._tell.chapter("a wrong key wakes nobody")
        listed = asking.open_client(self._url, self.key).models.list()
        self._it.expect(NAME in [model.id for model in listed], "is not in /v1/models")
        self._tell.say(f"openai: models.list() has {NAME}, asleep as it is")
        client = asking.open_client(self._url, "tp-wrong")
        began = time.monotonic()
        try:
            asking.stream_chat(client, NAME, QUESTION)
        except openai.AuthenticationError as refused:
            took = (time.monotonic() - began) * 1000
            self._tell.say(f"openai.AuthenticationError after {took:.0f} ms: {refused.message}")
        else:
            raise HarnessError("a request with a wrong key was answered")
        self._it.expect(self._it.replicas() == 0, "was woken by a wrong key")

    def _wake(self, title: str, fingerprint: str | None) -> None:
        self._tell.chapter(title)
        before = self._it.read().status.wakes.count
        client = asking.open_client(
            self._url, self.key, lambda line: self._tell.say(f"the stream says  {line}")
        )
        self._tell.say(f'openai: chat.completions.create(model="{NAME}", stream=True, …)')
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(asking.stream_chat, client, NAME, QUESTION)
            self._show_while_waking(asked)
            answer = asked.result()
        first, last = answer.first_token, answer.last_byte
        self._tell.say(
            f'first token after {first:.2f} s, last byte after {last:.2f} s:\n"{answer.text}"'
        )
        self._it.expect(bool(answer.text), "answered with no text")
        if fingerprint is not None:
            same = answer.fingerprint == fingerprint
            self._it.expect(same, f"has fingerprint {answer.fingerprint}, the bucket {fingerprint}")
            self._tell.say(f"system_fingerprint {fingerprint} = the checksum of the bucket's bytes")
        wake = self._it.wait_until_counted(before).status.wakes.last
        assert wake is not None
        parts = "\n".join(figures.wake_lines(wake))
        self._tell.say(f"time to wake, by part (status.wakes.last; {figures.COARSE}):\n{parts}")

    def _show_while_waking(self, asked: Future[asking.Answer]) -> None:
        """Show the table once while the request waits."""
        while not asked.done():
            awake = self._it.read().status.condition("Awake")
            if awake is not None and awake.reason == "WarmingUp":
                self._show_table()
                return
            time.sleep(0.2)

    def _ask_warm(self) -> float:
        """Ask some more; returns when the last byte came, in epoch seconds."""
        self._tell.chapter(f"{WARM_REQUESTS} more requests, at once, while it is awake")
        self._it.wait_until("Awake", reason="Serving")
        client = asking.open_client(self._url, self.key)
        with ThreadPoolExecutor(WARM_REQUESTS) as pool:
            questions = [f"{QUESTION} ({number})" for number in range(WARM_REQUESTS)]
            answers = list(pool.map(lambda q: asking.stream_chat(client, NAME, q), questions))
        first = statistics.median(answer.first_token for answer in answers) * 1000
        tokens = sum(answer.completion_tokens for answer in answers)
        self._tell.say(f"all answered: {tokens} tokens, first token after {first:.0f} ms (median)")
        self._show_table()
        return max(answer.ended_at for answer in answers)

    def _fall_asleep(self, last_byte: float) -> None:
        self._tell.chapter(f"nobody asks for {KEEP_ALIVE} s")
        with self._kube.watching("deployment", NAME, NAMESPACE, "{.spec.replicas}") as replicas:
            self._it.wait_until("Awake", reason="KeepingWarm")
            self._show_table()
            self._tell.say("ready and idle: every second costs")
            slept = replicas.until("0", timeout=KEEP_ALIVE + 30)
        after = slept - last_byte
        self._tell.say(f"replicas 0 written {after:.2f} s after the last byte")
        self._it.expect(abs(after - KEEP_ALIVE) <= TOLERANCE, f"did not sleep after {KEEP_ALIVE} s")
        self._it.wait_until("Awake", "False", "Draining")
        self._show_table()
        self._it.wait_until_gone()
        self._tell.say("the engine has ended, its GPU is free")
        self._show_table()

    def _bill(self) -> None:
        self._tell.chapter("what it cost")
        status = self._it.read().status
        self._tell.say("\n".join(figures.ledger_lines(status.cost, status.tokens)))
        self._tell.say(figures.cost_line(status.cost))

    def _show_table(self) -> None:
        self._tell.show(f"kubectl get ie -n {NAMESPACE}", self._it.table())
