"""What every route needs: the loaded model, and reading and checking of a request."""

import json
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from . import errors, text
from .arguments import Arguments
from .core import Core, Plan
from .switches import Switches
from .wire import Request

COMPLETION_TOKENS = 16
"""Tokens of a text completion that does not say how many, as in the API."""


@dataclass
class Service:
    """One loaded model."""

    arguments: Arguments
    switches: Switches
    core: Core
    context_tokens: int
    fingerprint: str
    created: float = field(default_factory=time.time)

    @property
    def name(self) -> str:
        """The model's first name: every answer carries it, whatever alias was asked for."""
        return self.arguments.served_model_name[0]

    def read(self, request: Request) -> dict[str, Any]:
        """The request's body, its model checked.

        Raises:
            ApiError: not JSON, or a model that is not served.
        """
        kind = request.headers.get("content-type", "").split(";", 1)[0].strip().lower()
        if kind != "application/json":
            raise errors.wrong_media_type()
        try:
            body = json.loads(request.body)
        except json.JSONDecodeError as error:
            raise errors.invalid_json(error) from error
        except UnicodeDecodeError as error:
            raise errors.ApiError(
                "There was an error parsing the body", type="Bad Request"
            ) from error
        if not isinstance(body, dict):
            detail = {"type": "model_attributes_type", "loc": "body"}
            raise errors.invalid(str(detail), "body")
        model = body.get("model")
        if model and model not in self.arguments.model_names:
            raise errors.unknown_model(str(model), self.arguments.model_names)
        self.core.check()
        return body

    def plan(
        self, body: dict[str, Any], prompt: str, said: str, asked: tuple[str, int | None]
    ) -> Plan:
        """Decide the whole generation: an echo of `said`, within what request and context allow.

        `asked` is the field that limits the reply, and its value.

        Raises:
            ApiError: a value is out of bounds, or the prompt does not fit.
        """
        limit_name, limit = asked
        if limit is not None and limit < 1:
            message = f"max_tokens must be at least 1, got {limit}."
            raise errors.bad_value(message, "max_tokens", limit)
        if limit is not None and limit > self.context_tokens:
            raise errors.bad_value(
                f"{limit_name}={limit} cannot be greater than max_model_len={self.context_tokens}. "
                "Please request fewer output tokens.",
                limit_name,
                limit,
            )
        temperature = read_number(body, "temperature", 1.0)
        if temperature < 0:
            message = f"temperature must be non-negative, got {temperature}."
            raise errors.bad_value(message, "temperature", temperature)
        prompt_tokens = len(text.split(prompt))
        if prompt_tokens >= self.context_tokens:
            raise errors.prompt_too_long(self.context_tokens)
        room = self.context_tokens - prompt_tokens
        room = room if limit is None else min(room, limit)
        return self._speak(body, prompt_tokens, said, room)

    def _speak(self, body: dict[str, Any], prompt_tokens: int, said: str, room: int) -> Plan:
        spoken = f"You said: {said}"
        wanted = self.switches.reply_tokens
        tokens = text.split(spoken)
        if wanted or body.get("ignore_eos"):
            wanted = room if body.get("ignore_eos") else wanted
            cycle = text.split(spoken + " ")
            tokens = [cycle[position % len(cycle)] for position in range(min(wanted, room))]
        finish = "stop" if len(tokens) <= room and not body.get("ignore_eos") else "length"
        if self.switches.reply_tokens > room:
            finish = "length"
        tokens, stopped = cut(tokens[:room], read_stops(body))
        copies = max(1, int(read_number(body, "n", 1)))
        if stopped is not None:
            finish = "stop"
        return Plan(prompt_tokens, tokens or [""], finish, stopped, copies)

    def usage(self, prompt: int, completion: int) -> dict[str, Any]:
        """The `usage` of a whole answer."""
        return {
            "prompt_tokens": prompt,
            "total_tokens": prompt + completion,
            "completion_tokens": completion,
            "prompt_tokens_details": self._prompt_details(),
            "completion_tokens_details": None,
        }

    def final_usage(self, prompt: int, completion: int) -> dict[str, Any]:
        """The `usage` of a stream's last chunk, where vLLM leaves out what is null."""
        whole = self.usage(prompt, completion)
        details = whole["prompt_tokens_details"]
        if details is not None:
            whole["prompt_tokens_details"] = {k: v for k, v in details.items() if v is not None}
        return {key: value for key, value in whole.items() if value is not None}

    def _prompt_details(self) -> dict[str, Any] | None:
        if not self.arguments.enable_prompt_tokens_details:
            return None
        return {"cached_tokens": 0, "created_cache_tokens": 0, "multimodal_tokens": None}

    def wants_usage(self, body: dict[str, Any]) -> tuple[bool, bool]:
        """Whether a stream ends with its usage, and whether each chunk carries it."""
        if self.arguments.enable_force_include_usage:
            return True, True
        options = body.get("stream_options")
        options = options if isinstance(options, dict) else {}
        last = bool(options.get("include_usage"))
        return last, last and bool(options.get("continuous_usage_stats"))


def make_id(prefix: str, request: Request) -> str:
    """An answer's id, made from the client's X-Request-Id if there is one."""
    return f"{prefix}-{request.headers.get('x-request-id') or secrets.token_hex(8)}"


def read_number(body: dict[str, Any], name: str, default: float) -> float:
    """A number of the request.

    Raises:
        ApiError: it is something else.
    """
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float):
        message = "Input should be a valid number, unable to parse string as a number"
        raise errors.invalid_field("float_parsing", name, message, value)
    return float(value)


def read_limit(body: dict[str, Any], *names: str) -> tuple[str, int | None]:
    """The first of these fields that is set, and its value; the last name if none is."""
    for name in names:
        if body.get(name) is not None:
            return name, int(read_number(body, name, 0))
    return names[-1], None


def read_stops(body: dict[str, Any]) -> list[str]:
    """The request's stop strings."""
    stop = body.get("stop")
    stops = [stop] if isinstance(stop, str) else stop or []
    return [entry for entry in stops if isinstance(entry, str) and entry]


def cut(tokens: list[str], stops: list[str]) -> tuple[list[str], str | None]:
    """End a reply before the first stop string in it; return that string too."""
    whole = "".join(tokens)
    hits = sorted((whole.find(stop), stop) for stop in stops if stop in whole)
    if not hits:
        return tokens, None
    where, stop = hits[0]
    return text.split(whole[:where]), stop
