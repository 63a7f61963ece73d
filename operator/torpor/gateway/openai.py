"""The shapes that OpenAI's clients expect: error objects and the list of models."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

from torpor.domain.waitroom import Refusal
from torpor.gateway.catalogue import Entry

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_QUOTA = "insufficient_quota"
"""Both type and code of what OpenAI answers when the money is spent."""
_MODEL_CODES = frozenset({"model_not_found", "model_missing"})


def error_object(refusal: Refusal) -> dict[str, Any]:
    """Return `{"error": {message, type, param, code}}`."""
    fallback = "invalid_request_error" if refusal.status < 500 else "server_error"
    kind = _TYPES.get(refusal.status, fallback)
    return {
        "error": {
            "message": refusal.message,
            "type": _QUOTA if refusal.code == _QUOTA else kind,
            "param": "model" if refusal.code in _MODEL_CODES else None,
            "code": refusal.code,
        }
    }


def error_body(refusal: Refusal) -> bytes:
    """Return the error object as JSON."""
    return json.dumps(error_object(refusal)).encode()


def error_event(refusal: Refusal) -> bytes:
    """Return the error object as a server-sent event, for an answer whose status 200 is already on its way."""
    return b"data: " + error_body(refusal) + b"\n\n"


def retry_after(refusal: Refusal, now_ms: int) -> str | None:
    """Return the value of `Retry-After` in whole seconds, at least 1; None if trying again makes no sense."""
    if refusal.retry_at_ms is not None:
        return str(max(1, math.ceil((refusal.retry_at_ms - now_ms) / 1000)))
    if refusal.retry_after is not None:
        return str(max(1, math.ceil(refusal.retry_after)))
    return None


def model_object(name: str, entry: Entry) -> dict[str, Any]:
    """Return one model as `/v1/models` lists it."""
    return {
        "id": name,
        "object": "model",
        "created": entry.created,
        "owned_by": entry.namespace,
        "root": entry.names[0],
    }


def model_list(listing: Iterable[tuple[str, Entry]]) -> dict[str, Any]:
    """Return the answer of `/v1/models`."""
    return {"object": "list", "data": [model_object(name, entry) for name, entry in listing]}
