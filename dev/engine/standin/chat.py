"""POST /v1/chat/completions."""

import time
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

from . import errors, sse, text
from .core import Plan
from .service import Service, make_id, read_limit
from .tools import Call, read_call
from .wire import Answer, Request, json_answer


async def answer(service: Service, request: Request) -> Answer:
    """Answer a chat, whole or as a stream."""
    body = service.read(request)
    messages = read_messages(body)
    prompt, said = text.render_chat(messages), text.last_said(messages)
    asked = read_limit(body, "max_completion_tokens", "max_tokens")
    plan = service.plan(body, prompt, said, asked)
    call = read_call(body)
    if call is not None:
        plan = replace(plan, tokens=text.split(call.arguments), finish_reason=call.finish_reason)
    identity = make_id("chatcmpl", request)
    if body.get("stream"):
        return sse.stream(sse.end_with_done(_chunks(service, body, plan, call, identity)))
    return json_answer(await _whole(service, plan, call, identity))


def read_messages(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The conversation.

    Raises:
        ApiError: there is none, or it is no list of messages.
    """
    if "messages" not in body:
        raise errors.invalid_field("missing", "messages", "Field required", body)
    messages = body["messages"]
    if not isinstance(messages, list):
        message = "Input should be a valid list"
        raise errors.invalid_field("list_type", "messages", message, messages)
    if not messages:
        raise errors.ApiError(
            "Cannot apply chat template to an empty conversation. Provide at least one message."
        )
    for position, entry in enumerate(messages):
        if not isinstance(entry, dict):
            message = "Input should be a valid dictionary"
            raise errors.invalid_field("dict_type", f"messages.{position}", message, entry)
    return messages


async def _whole(service: Service, plan: Plan, call: Call | None, identity: str) -> dict[str, Any]:
    created = int(time.time())
    spoken, finish = [], plan.finish_reason
    async for token in service.core.run(plan):
        if token is None:
            finish = "abort"
            break
        spoken.append(token)
    said = "".join(spoken)
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "" if call else said,
        "refusal": None,
        "annotations": None,
        "audio": None,
        "function_call": None,
    }
    if call is not None:
        function = {"name": call.name, "arguments": said}
        message["tool_calls"] = [{"id": call.id, "type": "function", "function": function}]
    message["reasoning"] = None
    choices = [
        {
            "index": index,
            "message": message,
            "logprobs": None,
            "finish_reason": finish,
            "stop_reason": plan.stop_reason,
            "token_ids": None,
            "routed_experts": None,
        }
        for index in range(plan.copies)
    ]
    return {
        "id": identity,
        "object": "chat.completion",
        "created": created,
        "model": service.name,
        "choices": choices,
        "service_tier": None,
        "system_fingerprint": service.fingerprint,
        "usage": service.usage(plan.prompt_tokens, len(spoken) * plan.copies),
        "prompt_logprobs": None,
        "prompt_token_ids": None,
        "prompt_text": None,
        "kv_transfer_params": None,
        "ec_transfer_params": None,
        "metrics": None,
    }


async def _chunks(
    service: Service, body: dict[str, Any], plan: Plan, call: Call | None, identity: str
) -> AsyncGenerator[bytes, None]:
    """The role once the first token is there, one delta per token, the usage if asked for."""
    last_usage, each_usage = service.wants_usage(body)
    base = {
        "id": identity,
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": service.name,
    }

    def chunk(choice: dict[str, Any], sent: int, **more: Any) -> bytes:
        value = {**base, "choices": [choice]}
        if each_usage:
            value["usage"] = {
                "prompt_tokens": plan.prompt_tokens,
                "total_tokens": plan.prompt_tokens + sent,
                "completion_tokens": sent,
                "completion_tokens_details": None,
            }
        return sse.event({**value, **more})

    sent = 0
    async for token in service.core.run(plan):
        if sent == 0:
            for index in range(plan.copies):
                role = {"role": "assistant", "content": ""}
                choice = {"index": index, "delta": role, "logprobs": None, "finish_reason": None}
                yield chunk(choice, 0, prompt_token_ids=None, prompt_text=None)
        sent += token is not None
        finish = "abort" if token is None else plan.finish_reason
        finished = token is None or sent == len(plan.tokens)
        ending = {"stop_reason": plan.stop_reason} if finished else {}
        stamp = {"system_fingerprint": service.fingerprint} if finished and not last_usage else {}
        deltas: list[dict[str, Any]] = [{"content": token or ""}]
        if call is not None:
            deltas = call.deltas(token, first=sent == 1, finished=finished)
        for index in range(plan.copies):
            for delta in deltas:
                ends = finished and delta is deltas[-1]
                choice = {
                    "index": index,
                    "delta": delta,
                    "logprobs": None,
                    "finish_reason": finish if ends else None,
                    **(ending if ends else {}),
                    "token_ids": None,
                }
                yield chunk(choice, sent, **(stamp if ends else {}))
    if last_usage:
        usage = service.final_usage(plan.prompt_tokens, sent * plan.copies)
        last = {"usage": usage, "system_fingerprint": service.fingerprint}
        yield sse.event({**base, "choices": [], **last})
