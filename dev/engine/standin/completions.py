"""POST /v1/completions."""

import time
from collections.abc import AsyncGenerator
from typing import Any

from . import errors, sse, text
from .core import Plan
from .service import COMPLETION_TOKENS, Service, make_id, read_limit
from .wire import Answer, Request, json_answer


async def answer(service: Service, request: Request) -> Answer:
    """Complete one prompt or several, whole or as a stream."""
    body = service.read(request)
    name, limit = read_limit(body, "max_tokens")
    asked = (name, COMPLETION_TOKENS if limit is None else limit)
    prompts = read_prompts(body)
    plans = [service.plan(body, prompt, prompt, asked) for prompt in prompts]
    echoes = [prompt if body.get("echo") else "" for prompt in prompts]
    identity = make_id("cmpl", request)
    if body.get("stream"):
        chunks = _chunks(service, body, plans, echoes, identity)
        return sse.stream(sse.end_with_done(chunks))
    return json_answer(await _whole(service, plans, echoes, identity))


def read_prompts(body: dict[str, Any]) -> list[str]:
    """The prompts as text; token ids are spelled.

    Raises:
        ApiError: there is none, or it is neither text nor token ids.
    """
    prompt = body.get("prompt")
    if isinstance(prompt, str):
        return [prompt]
    if isinstance(prompt, list) and prompt:
        if all(isinstance(entry, str) for entry in prompt):
            return prompt
        if all(type(entry) is int for entry in prompt):
            return [text.spell(prompt)]
        if all(isinstance(entry, list) for entry in prompt):
            return [text.spell(entry) for entry in prompt]
    raise errors.ApiError("Either prompt or prompt_embeds must be provided and non-empty.")


async def _whole(
    service: Service, plans: list[Plan], echoes: list[str], identity: str
) -> dict[str, Any]:
    created = int(time.time())
    choices: list[dict[str, Any]] = []
    completion = 0
    for plan, echo in zip(plans, echoes, strict=True):
        spoken, finish = [], plan.finish_reason
        async for token in service.core.run(plan):
            if token is None:
                finish = "abort"
                break
            spoken.append(token)
        completion += len(spoken) * plan.copies
        for _ in range(plan.copies):
            choices.append(
                {
                    "index": len(choices),
                    "text": echo + "".join(spoken),
                    "logprobs": None,
                    "finish_reason": finish,
                    "stop_reason": plan.stop_reason,
                    "token_ids": None,
                    "prompt_logprobs": None,
                    "prompt_token_ids": None,
                    "routed_experts": None,
                }
            )
    return {
        "id": identity,
        "object": "text_completion",
        "created": created,
        "model": service.name,
        "choices": choices,
        "service_tier": None,
        "system_fingerprint": service.fingerprint,
        "usage": service.usage(sum(plan.prompt_tokens for plan in plans), completion),
        "kv_transfer_params": None,
        "ec_transfer_params": None,
        "metrics": None,
    }


async def _chunks(
    service: Service, body: dict[str, Any], plans: list[Plan], echoes: list[str], identity: str
) -> AsyncGenerator[bytes, None]:
    last_usage, each_usage = service.wants_usage(body)
    base = {
        "id": identity,
        "object": "text_completion",
        "created": int(time.time()),
        "model": service.name,
    }
    total = 0
    first_index = 0
    for plan, echo in zip(plans, echoes, strict=True):
        sent = 0
        async for token in service.core.run(plan):
            lead = echo if sent == 0 else ""
            sent += token is not None
            finished = token is None or sent == len(plan.tokens)
            finish = "abort" if token is None else plan.finish_reason
            for index in range(plan.copies):
                choice = {
                    "index": first_index + index,
                    "text": lead + (token or ""),
                    "logprobs": None,
                    "finish_reason": finish if finished else None,
                    "stop_reason": plan.stop_reason if finished else None,
                    "prompt_token_ids": None,
                    "token_ids": None,
                }
                value: dict[str, Any] = {**base, "choices": [choice]}
                if finished and not last_usage:
                    value["system_fingerprint"] = service.fingerprint
                if each_usage:
                    value["usage"] = {
                        "prompt_tokens": plan.prompt_tokens,
                        "total_tokens": plan.prompt_tokens + sent,
                        "completion_tokens": sent,
                    }
                yield sse.event(value)
        total += sent * plan.copies
        first_index += plan.copies
    if last_usage:
        usage = service.final_usage(sum(plan.prompt_tokens for plan in plans), total)
        more = {"usage": usage, "system_fingerprint": service.fingerprint}
        yield sse.event({**base, "choices": [], **more})
