"""kubectl and helm of one cluster: the same programs that a person would use."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from dev.cluster import HarnessError
from dev.cluster.commands import run

Json = dict[str, Any]
T = TypeVar("T")
WRITER = "torpor-dev"
"""Field manager of everything that demo, tests and benchmarks apply."""


@dataclass(frozen=True)
class Kube:
    """One cluster as kubectl and helm see it."""

    kubectl: Path
    helm: Path
    kubeconfig: Path | None = None
    """None takes the user's own."""
    context: str | None = None
    """None takes the current one."""

    @property
    def _kubectl_words(self) -> list[str]:
        words = [str(self.kubectl)]
        words += ["--kubeconfig", str(self.kubeconfig)] if self.kubeconfig else []
        return words + (["--context", self.context] if self.context else [])

    def run(self, *words: str, stdin: str | None = None, timeout: float = 60.0) -> str:
        """Run kubectl and return what it printed.

        Raises:
            HarnessError: it failed; carries its last lines.
        """
        return run([*self._kubectl_words, *words], stdin=stdin, timeout=timeout)

    def run_helm(self, *words: str, stdin: str | None = None, timeout: float = 300.0) -> str:
        """Run helm and return what it printed.

        Raises:
            HarnessError: it failed; carries its last lines.
        """
        command = [str(self.helm)]
        command += ["--kubeconfig", str(self.kubeconfig)] if self.kubeconfig else []
        command += ["--kube-context", self.context] if self.context else []
        return run([*command, *words], stdin=stdin, timeout=timeout)

    def find(self, kind: str, name: str, namespace: str | None = None) -> Json | None:
        """Return one object, or None if it is not there."""
        words = ["get", kind, name, "--ignore-not-found", "-o", "json"]
        text = self.run(*words, *(["-n", namespace] if namespace else []))
        found: Json | None = json.loads(text) if text.strip() else None
        return found

    def list(self, kind: str, namespace: str | None = None, selector: str = "") -> list[Json]:
        """Return all objects of a kind, of all namespaces if none is given."""
        where = ["-n", namespace] if namespace else ["--all-namespaces"]
        chosen = ["-l", selector] if selector else []
        items: list[Json] = json.loads(self.run("get", kind, *where, *chosen, "-o", "json"))[
            "items"
        ]
        return items

    def apply(self, *objects: Json) -> None:
        """Apply objects, server-side.

        Raises:
            HarnessError: one was refused; carries the API server's words.
        """
        several = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        words = ["apply", "--server-side", "--force-conflicts", f"--field-manager={WRITER}"]
        self.run(*words, "-f", "-", stdin=json.dumps(several))

    def delete(
        self, kind: str, name: str, namespace: str | None = None, *, timeout: float = 180.0
    ) -> None:
        """Delete an object and wait until it is gone; one that is not there is gone already."""
        where = ["-n", namespace] if namespace else []
        words = ["delete", kind, name, *where, "--ignore-not-found", f"--timeout={timeout:.0f}s"]
        self.run(*words, timeout=timeout + 10)

    def wait_for(
        self, what: str, look: Callable[[], T | None], *, timeout: float, every: float = 0.2
    ) -> T:
        """Look until there is something to return.

        Raises:
            HarnessError: nothing within `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while (found := look()) is None:
            if time.monotonic() > deadline:
                raise HarnessError(f"{what}: not within {timeout:.0f} s")
            time.sleep(every)
        return found

    @contextmanager
    def watching(self, kind: str, name: str, namespace: str, jsonpath: str) -> Iterator[Watch]:
        """Watch one value of one object while the block runs."""
        form = f'-o=jsonpath={jsonpath}{{"\\n"}}'
        words = ["get", kind, name, "-n", namespace, "--watch", form]
        with subprocess.Popen(
            [*self._kubectl_words, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            try:
                yield Watch(process, f"{jsonpath} of {kind} {namespace}/{name}")
            finally:
                process.kill()

    @contextmanager
    def forwarding(self, target: str, port: int, namespace: str) -> Iterator[str]:
        """Reach a port of a Service or pod through the API server; gives `http://127.0.0.1:…`.

        Raises:
            HarnessError: kubectl could not forward it.
        """
        words = ["port-forward", "-n", namespace, target, f":{port}", "--address=127.0.0.1"]
        with subprocess.Popen(
            [*self._kubectl_words, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            try:
                assert process.stdout is not None
                first = process.stdout.readline()
                if "127.0.0.1:" not in first:
                    raise HarnessError(f"kubectl port-forward to {target} failed: {first.strip()}")
                yield f"http://{first.split()[2]}"
            finally:
                process.kill()


class Watch:
    """Lines of a `kubectl get --watch`, each with the time it came."""

    def __init__(self, process: subprocess.Popen[str], what: str) -> None:
        self._process = process
        self._what = what

    def until(self, value: str, timeout: float) -> float:
        """Read on until the value is seen; returns the time (epoch seconds) at which it came.

        Raises:
            HarnessError: not within `timeout` seconds.
        """
        assert self._process.stdout is not None
        end = threading.Timer(timeout, self._process.kill)
        end.start()
        try:
            for line in self._process.stdout:
                if line.strip() == value:
                    return time.time()
        finally:
            end.cancel()
        raise HarnessError(f"{self._what} was not {value} within {timeout:.0f} s")
