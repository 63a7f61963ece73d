"""Calls of tools, where a request makes the model call one: by name, or `required`, which takes the first.

What a model decides by itself (`auto`) is never a call here: the stand-in decides nothing.
"""

import json
import secrets
from dataclasses import dataclass
from typing import Any

_EXAMPLES = {"integer": 1, "number": 1.5, "boolean": True, "array": [], "object": {}, "null": None}


@dataclass(frozen=True)
class Call:
    """A tool and what it is called with."""

    name: str
    arguments: str
    finish_reason: str
    """vLLM says `tool_calls` where the model chose the tool, and `stop` where the request named it."""

    @property
    def id(self) -> str:
        """A new identity, in vLLM's form."""
        return f"chatcmpl-tool-{secrets.token_hex(8)}"

    def deltas(self, token: str | None, *, first: bool, finished: bool) -> list[dict[str, Any]]:
        """What a stream says with one token: the call's head before the first, nothing more after the last."""
        parts: list[dict[str, Any]] = []
        if first:
            parts.append(
                {"id": self.id, "type": "function", "index": 0, "function": {"name": self.name}}
            )
        if token is not None:
            parts.append({"index": 0, "function": {"arguments": token}})
        said: list[dict[str, Any]] = [{"content": None, "tool_calls": [part]} for part in parts]
        return [*said, {}] if finished else said


def read_call(body: dict[str, Any]) -> Call | None:
    """The call that a request forces, with the simplest arguments that its schema allows; None if it forces none."""
    choice, tools = body.get("tool_choice"), body.get("tools")
    functions = {tool["function"]["name"]: tool["function"] for tool in tools or []}
    if not functions:
        return None
    if isinstance(choice, dict):
        name, finish = str(choice["function"]["name"]), "stop"
    elif choice == "required":
        name, finish = next(iter(functions)), "tool_calls"
    else:
        return None
    example = _example(functions[name].get("parameters") or {"type": "object"})
    return Call(name, json.dumps(example, separators=(",", ":")), finish)


def _example(schema: dict[str, Any]) -> Any:
    if schema.get("enum"):
        return schema["enum"][0]
    if schema.get("type") == "object":
        fields = schema.get("properties") or {}
        return {
            name: _example(fields[name]) for name in schema.get("required") or [] if name in fields
        }
    return _EXAMPLES.get(str(schema.get("type")), "text")
