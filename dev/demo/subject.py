"""The endpoint that the story is about: its weights, its YAML, and what the cluster says of it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from dev.cluster import HarnessError
from dev.engine.standin.checksum import checksum_objects
from dev.install.checkpoint import write_checkpoint
from dev.vllm.pod import endpoint as vllm_endpoint
from torpor.api.endpoint import InferenceEndpoint

from .place import Place

NAMESPACE = "torpor-demo"
NAME = "marmot"
KEEP_ALIVE = 15
SWITCHES = {"STANDIN_LOAD_SECONDS": "6", "STANDIN_TOKENS_PER_SECOND": "20"}
"""The stand-in takes its time, so that there is something to wait for and something to stream."""

Json = dict[str, Any]


class Subject:
    """One endpoint in a namespace of its own."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._torpor = place.torpor
        self.source = f"s3://{place.bucket}/{NAME}/"

    def put_weights(self) -> int:
        """Upload the checkpoint: the tiny Llama for real vLLM, else one made here; returns its bytes."""
        if self._place.vllm is not None:
            return self._torpor.bucket.put(self._place.vllm.model, self.source)
        with tempfile.TemporaryDirectory() as folder:
            write_checkpoint(Path(folder))
            return self._torpor.bucket.put(Path(folder), self.source)

    def fingerprint(self) -> str | None:
        """The checksum of what is in the bucket, as the stand-in computes it; None with real vLLM."""
        if self._place.vllm is not None:
            return None
        return checksum_objects(dict(self._torpor.bucket.read(self.source)))

    def compose(self, key_entry: Json) -> Json:
        """Return the InferenceEndpoint."""
        more: Json = {
            "scaling": {"keepAlive": {"policy": "fixed", "after": f"{KEEP_ALIVE}s"}},
            "access": {"keys": [key_entry]},
        }
        if self._place.vllm is None or self._place.vllm_image is None:
            return self._torpor.endpoint(NAME, NAMESPACE, self.source, more, SWITCHES)
        composed = vllm_endpoint(
            name=NAME,
            namespace=NAMESPACE,
            image=self._place.vllm_image,
            source=self.source,
            s3=self._torpor.s3_of(),
        )
        composed["spec"].update(more)
        return composed

    def make_room(self) -> None:
        """Make the namespace anew, with the Secret in it; whatever an earlier demo left goes."""
        self._torpor.remove_namespace(NAMESPACE)
        self._torpor.make_namespace(NAMESPACE)
        self._torpor.make_s3_secret(NAMESPACE)

    def remove(self) -> None:
        """Delete the namespace with everything in it, and the weights in the bucket."""
        self._torpor.remove_namespace(NAMESPACE)
        self._torpor.bucket.remove(self.source)

    def read(self) -> InferenceEndpoint:
        """Return the endpoint as it is now."""
        return self._torpor.read(NAMESPACE, NAME)

    def replicas(self) -> int:
        """Return the replicas that its Deployment asks for."""
        found = self._torpor.kube.find("deployment", NAME, NAMESPACE)
        return int(found["spec"].get("replicas") or 0) if found else 0

    def wait_until(
        self, condition: str, status: str = "True", reason: str | None = None, timeout: float = 30.0
    ) -> InferenceEndpoint:
        """Wait for a condition.

        Raises:
            HarnessError: not in time; says what the conditions were.
        """
        return self._torpor.wait_for_condition(
            NAMESPACE, NAME, condition, status, reason, timeout=timeout
        )

    def wait_until_counted(self, wakes: int) -> InferenceEndpoint:
        """Wait until more wakes than these are in its status."""

        def look() -> InferenceEndpoint | None:
            endpoint = self.read()
            return endpoint if endpoint.status.wakes.count > wakes else None

        return self._torpor.kube.wait_for("the wake in status.wakes", look, timeout=15)

    def wait_until_gone(self) -> None:
        """Wait until nothing of it holds a GPU and its meter has closed the last pod."""

        def look() -> bool | None:
            status = self.read().status
            awake = status.condition("Awake")
            return (
                True
                if awake is not None and awake.reason == "Idle" and not status.cost.live
                else None
            )

        self._torpor.kube.wait_for("the end of the engine's pod", look, timeout=100)

    def table(self) -> str:
        """Return `kubectl get ie`."""
        return self._torpor.table(NAMESPACE)

    def expect(self, holds: bool, otherwise: str) -> None:
        """Go on only if it holds.

        Raises:
            HarnessError: it does not; shows the table.
        """
        if not holds:
            raise HarnessError(f"endpoint {NAMESPACE}/{NAME}: {otherwise}\n{self.table()}")
