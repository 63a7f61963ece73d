"""A client as a process: told a wish, it says what its library gave or raised."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dev.clients.place import HERE, Clients
from dev.cluster.places import child_environment

PYTHON_CLIENTS = ("openai", "langchain", "litellm")
QUIET = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "PYTHONWARNINGS": "ignore", "NO_COLOR": "1"}
"""LiteLLM would fetch a list of prices from the Internet."""


@dataclass(frozen=True)
class Raised:
    """What a client's library raised."""

    name: str
    """Of its class."""
    bases: list[str]
    """The classes that it is one of."""
    status: int | None
    message: str


@dataclass
class Talker:
    """One running client."""

    name: str
    clients: Clients
    _process: subprocess.Popen[str] = field(init=False)

    def __post_init__(self) -> None:
        """Start it."""
        command: list[str | Path] = [self.clients.python, HERE / "talk.py", self.name]
        if self.name == "node":
            command = [self.clients.node, HERE / "node" / "talk.mjs", self.clients.modules]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=child_environment(**QUIET),
        )

    def tell(self, do: str, **wish: Any) -> Any:
        """Return what came of a wish: the answer, or `Raised`."""
        sent, said = self._process.stdin, self._process.stdout
        assert sent is not None
        assert said is not None
        sent.write(json.dumps({"do": do, **wish}) + "\n")
        sent.flush()
        line = said.readline()
        if not line:
            raise AssertionError(f"{self.name} ended with {self._process.wait()}")
        answer = json.loads(line)
        return Raised(**answer["raised"]) if "raised" in answer else answer["answer"]

    def end(self) -> None:
        """Stop it."""
        self._process.kill()
        self._process.communicate()
