"""One namespace with endpoints in it: what a tenant does and sees."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from dev.install import Installed
from tests.cluster.apiserver import DEPLOYMENTS, ENDPOINTS, PODS, ApiServer, Json, until
from torpor.api.endpoint import InferenceEndpoint
from torpor.manifests.names import ENDPOINT_LABEL

ENGINE = "torpor.dev/component=engine"
HELLO = [{"role": "user", "content": "say hello"}]
SWITCHES = {"STANDIN_TOKENS_PER_SECOND": "0"}
"""As fast as the machine allows: most tests look at torpor, not at generation."""


@dataclass(frozen=True)
class Reply:
    """One answer of the gateway, with the instants (epoch seconds) around it."""

    status: int
    body: Json
    sent_at: float
    ended_at: float
    headers: Mapping[str, str]

    @property
    def error(self) -> Json:
        """The OpenAI error object."""
        found: Json = self.body["error"]
        return found

    @property
    def text(self) -> str:
        """What the model said."""
        return str(self.body["choices"][0]["message"]["content"])


@dataclass(frozen=True)
class Space:
    """A namespace of the test's own."""

    name: str
    api: ApiServer
    torpor: Installed
    weights: str
    """Address of a good checkpoint in the bucket."""

    def path(self, collection: str, name: str = "") -> str:
        """Return the URL path of a collection of this namespace, or of one object in it."""
        root = collection.format(self.name)
        return f"{root}/{name}" if name else root

    def compose(
        self,
        name: str,
        keep_alive: str = "2s",
        switches: Mapping[str, str] | None = None,
        spec: Mapping[str, Any] | None = None,
        source: str | None = None,
    ) -> Json:
        """Return an endpoint that runs the stand-in engine."""
        composed = self.torpor.endpoint(
            name, self.name, source or self.weights, None, {**SWITCHES, **(switches or {})}
        )
        composed["spec"]["scaling"] = {"keepAlive": {"policy": "fixed", "after": keep_alive}}
        for key, value in (spec or {}).items():
            old = composed["spec"].get(key)
            both = isinstance(old, dict) and isinstance(value, Mapping)
            composed["spec"][key] = {**old, **value} if both and isinstance(old, dict) else value
        return composed

    def apply(self, endpoint: Json) -> Json:
        """Apply an endpoint."""
        return self.api.apply(self.path(ENDPOINTS, endpoint["metadata"]["name"]), endpoint)

    def start(self, name: str, **composed: Any) -> InferenceEndpoint:
        """Apply an endpoint and wait until it would answer and its Deployment is there."""
        self.apply(self.compose(name, **composed))
        self.wait_weights(name)
        return self.wait_condition(name, "Ready")

    def read(self, name: str) -> InferenceEndpoint:
        """Return an endpoint as the API server has it."""
        found = self.api.get(self.path(ENDPOINTS, name))
        assert found is not None, f"endpoint {self.name}/{name} is gone"
        return InferenceEndpoint.model_validate(found)

    def wait_condition(
        self,
        name: str,
        kind: str,
        status: str = "True",
        reason: str | None = None,
        timeout: float = 60.0,
    ) -> InferenceEndpoint:
        """Wait for a condition of the present generation."""
        seen: list[str] = []

        def look() -> InferenceEndpoint | None:
            endpoint = self.read(name)
            found = endpoint.status.condition(kind)
            seen[:] = [
                f"{c.type}={c.status} {c.reason}: {c.message}" for c in endpoint.status.conditions
            ]
            if found is None or found.observed_generation != endpoint.metadata.generation:
                return None
            return endpoint if found.status == status and reason in (None, found.reason) else None

        try:
            return until(f"{name}: {kind}={status} {reason or ''}", look, timeout)
        except AssertionError as late:
            late.add_note("\n".join(seen))
            raise

    def wait_weights(self, name: str) -> InferenceEndpoint:
        """Wait until the node has the weights, so that a wake is not a download."""
        return self.wait_condition(name, "WeightsReady", reason="WeightsOnNodes", timeout=90)

    def wait_asleep(self, name: str, timeout: float = 90.0) -> InferenceEndpoint:
        """Wait until nothing runs any more and the meter has closed every pod."""

        def look() -> InferenceEndpoint | None:
            if self.replicas(name) or self.pods(name):
                return None
            endpoint = self.read(name)
            awake = endpoint.status.condition("Awake")
            idle = awake is not None and awake.reason in ("Idle", "Suspended", "Failed")
            return endpoint if idle and not endpoint.status.cost.live else None

        return until(f"{self.name}/{name} asleep with a closed ledger", look, timeout)

    def deployment(self, name: str) -> Json:
        """Return an endpoint's Deployment."""
        found = self.api.get(self.path(DEPLOYMENTS, name))
        assert found is not None, f"Deployment {self.name}/{name} is not there"
        return found

    def replicas(self, name: str) -> int:
        """Return `spec.replicas` of an endpoint's Deployment."""
        return int(self.deployment(name)["spec"].get("replicas") or 0)

    def pods(self, name: str = "") -> list[Json]:
        """Return an endpoint's engine pods, or everybody's, whatever their state."""
        its = f",{ENDPOINT_LABEL}={name}" if name else ""
        return self.api.items(self.path(PODS), f"{ENGINE}{its}")

    def chat(self, name: str, timeout: float = 120.0, key: str | None = None, **body: Any) -> Reply:
        """Ask an endpoint of this namespace by its full name."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        asked = {"model": f"{self.name}/{name}", "messages": HELLO, "max_tokens": 8} | body
        began = time.time()
        with httpx.Client(timeout=timeout, trust_env=False) as client:
            answer = client.post(f"{self.torpor.url}/chat/completions", json=asked, headers=headers)
        return Reply(answer.status_code, answer.json(), began, time.time(), answer.headers)

    def chat_until(self, name: str, status: int, timeout: float = 10.0) -> Reply:
        """Ask until the answer has this status: gateways hear of a condition when we do, not before."""

        def look() -> Reply | None:
            reply = self.chat(name)
            return reply if reply.status == status else None

        return until(f"{self.name}/{name} answers {status}", look, timeout)
