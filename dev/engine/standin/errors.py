"""vLLM's errors: the JSON it answers with and the words its log ends with."""

import json
from dataclasses import dataclass
from typing import Any

from .wire import Answer, json_answer

ENGINE_DEAD = "EngineCore encountered an issue. See stack trace (above) for the root cause."
START_FAILED = (
    "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}"
)


@dataclass
class ApiError(Exception):
    """A request that is answered with an error object."""

    message: str
    status: int = 400
    type: str = "BadRequestError"
    param: str | None = None

    def body(self) -> dict[str, Any]:
        """The error object; `code` is the HTTP status as a number."""
        error = {
            "message": self.message,
            "type": self.type,
            "param": self.param,
            "code": self.status,
        }
        return {"error": error}

    def answer(self) -> Answer:
        """The whole response."""
        return json_answer(self.body(), self.status)


def refused_by_engine(message: str) -> ApiError:
    """The engine could not take or finish the request."""
    return ApiError(message, 500, "InternalServerError")


def shutting_down() -> ApiError:
    """What a new request gets from a server that drains; /health is still 200 then."""
    return refused_by_engine("cannot schedule new futures after shutdown")


def unknown_model(name: str, served: tuple[str, ...]) -> ApiError:
    """The request names a model this server does not serve."""
    message = f"The model `{name}` does not exist. Valid aliases: {', '.join(served)}."
    return ApiError(message, 404, "NotFoundError", "model")


def bad_value(message: str, param: str, value: object) -> ApiError:
    """A field holds a value that vLLM refuses."""
    return ApiError(f"{message} (parameter={param}, value={value})", param=param)


def prompt_too_long(limit: int) -> ApiError:
    """The prompt alone fills the context; vLLM stops counting one token past it."""
    return bad_value(
        f"This model's maximum context length is {limit} tokens. However, your prompt contains at "
        f"least {limit + 1} input tokens, which exceeds this limit even without any output tokens. "
        "Please reduce the length of the input prompt.",
        "input_tokens",
        limit + 1,
    )


def invalid(detail: str, param: str | None) -> ApiError:
    """The request does not have the form of the API."""
    return ApiError(f"1 validation error:\n  {detail}", type="Bad Request", param=param)


def invalid_field(kind: str, field: str, message: str, given: object) -> ApiError:
    """One field is missing or of the wrong kind."""
    shown = f"<{type(given).__name__} of {len(given)} items>" if isinstance(given, dict) else given
    detail = {"type": kind, "loc": f"body.{field}", "msg": message, "input": shown}
    return invalid(str(detail), f"body.{field}")


def invalid_json(error: json.JSONDecodeError) -> ApiError:
    """The body is no JSON."""
    detail = {
        "type": "json_invalid",
        "loc": f"body.{error.pos}",
        "msg": "JSON decode error",
        "input": "<dict of 0 items>",
        "ctx": {"error": error.msg},
    }
    return invalid(str(detail), f"body.{error.pos}")


def wrong_media_type() -> ApiError:
    """The body is not declared as JSON."""
    return invalid("Unsupported Media Type: Only 'application/json' is allowed", None)


def out_of_memory(wanted: int, available: int) -> str:
    """Give torch's error for weights that do not fit; sizes in bytes."""
    gib = 2**30
    return (
        f"torch.OutOfMemoryError: CUDA out of memory. Tried to allocate {wanted / gib:.2f} GiB. "
        f"GPU 0 has a total capacity of {available / gib:.2f} GiB of which "
        f"{available / gib:.2f} GiB is free."
    )
