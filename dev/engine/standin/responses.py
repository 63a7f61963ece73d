"""POST /v1/responses, as much of it as plain text needs."""

import time
from collections.abc import AsyncGenerator
from typing import Any

from . import errors, sse, text
from .core import Plan
from .service import Service, make_id, read_limit
from .wire import Answer, Request, json_answer


async def answer(service: Service, request: Request) -> Answer:
    """Answer an input, whole or as a stream of typed events."""
    body = service.read(request)
    messages = read_input(body)
    prompt, said = text.render_chat(messages), text.last_said(messages)
    limit_name, limit = read_limit(body, "max_output_tokens")
    plan = service.plan(body, prompt, said, (limit_name, limit))
    base = _base(service, body, make_id("resp", request).replace("-", "_", 1), limit)
    if body.get("stream"):
        return sse.stream(_events(service, plan, base))
    spoken: list[str] = []
    async for token in service.core.run(plan):
        spoken.append(token or "")
    return json_answer(_finish(base, plan, "".join(spoken), len(spoken)))


def read_input(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The input as a conversation, with the instructions as its system message.

    Raises:
        ApiError: there is none.
    """
    given = body.get("input")
    if isinstance(given, str):
        given = [{"role": "user", "content": given}]
    if not isinstance(given, list) or not given:
        raise errors.invalid_field("missing", "input", "Field required", body)
    messages = [entry for entry in given if isinstance(entry, dict)]
    if isinstance(body.get("instructions"), str):
        messages.insert(0, {"role": "system", "content": body["instructions"]})
    return messages


def _base(
    service: Service, body: dict[str, Any], identity: str, limit: int | None
) -> dict[str, Any]:
    return {
        "id": identity,
        "created_at": int(time.time()),
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "metadata": body.get("metadata"),
        "model": service.name,
        "object": "response",
        "output": [],
        "parallel_tool_calls": True,
        "temperature": body.get("temperature", 1.0),
        "tool_choice": "none",
        "tools": [],
        "top_p": body.get("top_p", 1.0),
        "background": False,
        "max_output_tokens": limit,
        "max_tool_calls": None,
        "previous_response_id": None,
        "prompt": None,
        "reasoning": None,
        "service_tier": "auto",
        "status": "in_progress",
        "text": None,
        "top_logprobs": None,
        "truncation": "disabled",
        "usage": None,
        "user": body.get("user"),
        "presence_penalty": body.get("presence_penalty", 0.0),
        "frequency_penalty": body.get("frequency_penalty", 0.0),
        "kv_transfer_params": None,
        "ec_transfer_params": None,
        "input_messages": None,
        "output_messages": None,
    }


def _part(spoken: str) -> dict[str, Any]:
    return {"annotations": [], "text": spoken, "type": "output_text", "logprobs": None}


def _item(base: dict[str, Any], content: list[dict[str, Any]], status: str) -> dict[str, Any]:
    return {
        "id": str(base["id"]).replace("resp_", "msg_", 1),
        "content": content,
        "role": "assistant",
        "status": status,
        "type": "message",
        "phase": None,
    }


def _finish(base: dict[str, Any], plan: Plan, spoken: str, sent: int) -> dict[str, Any]:
    cut_short = plan.finish_reason == "length"
    return {
        **base,
        "output": [_item(base, [_part(spoken)], "completed")],
        "status": "incomplete" if cut_short else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if cut_short else None,
        "usage": {
            "input_tokens": plan.prompt_tokens,
            "input_tokens_details": {
                "cached_tokens": 0,
                "cache_write_tokens": 0,
                "input_tokens_per_turn": [],
                "cached_tokens_per_turn": [],
            },
            "output_tokens": sent,
            "output_tokens_details": {
                "reasoning_tokens": 0,
                "tool_output_tokens": 0,
                "output_tokens_per_turn": [],
                "tool_output_tokens_per_turn": [],
            },
            "total_tokens": plan.prompt_tokens + sent,
        },
    }


async def _events(
    service: Service, plan: Plan, base: dict[str, Any]
) -> AsyncGenerator[bytes, None]:
    """Send the events in vLLM's order; this stream ends without `[DONE]`."""
    number = 0

    def event(kind: str, **fields: Any) -> bytes:
        nonlocal number
        value = {**fields, "sequence_number": number, "type": kind}
        number += 1
        return sse.event(value, kind)

    item = _item(base, [], "in_progress")
    at = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    yield event("response.created", response=base)
    yield event("response.in_progress", response=base)
    yield event("response.output_item.added", item=item, output_index=0)
    yield event("response.content_part.added", part={**_part(""), "logprobs": []}, **at)
    spoken: list[str] = []
    async for token in service.core.run(plan):
        spoken.append(token or "")
        yield event("response.output_text.delta", delta=token or "", logprobs=[], **at)
    whole = "".join(spoken)
    yield event("response.output_text.done", text=whole, logprobs=[], **at)
    yield event("response.content_part.done", part=_part(whole), **at)
    done = _item(base, [_part(whole)], "completed")
    yield event("response.output_item.done", item=done, output_index=0)
    yield event("response.completed", response=_finish(base, plan, whole, len(spoken)))
