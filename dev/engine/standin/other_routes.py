"""The routes that generate nothing: models, health, tokens, embeddings, metrics."""

import base64
import hashlib
import secrets
import struct
import time
from typing import Any

from . import errors, metrics, text
from .arguments import read_config
from .chat import read_messages
from .completions import read_prompts
from .core import Plan
from .service import Service, make_id
from .wire import Answer, Request, json_answer

VERSION = "0.32.0"
"""The vLLM whose ways the stand-in has."""


async def health(service: Service, _: Request) -> Answer:
    """200 as long as the core lives, draining included; 503 once it has died."""
    return Answer(503 if service.core.dead else 200)


async def version(_: Service, __: Request) -> Answer:
    """The engine's version."""
    return json_answer({"version": VERSION})


async def load(service: Service, _: Request) -> Answer:
    """The number of generations under way."""
    return json_answer({"server_load": service.core.counts.running + service.core.counts.waiting})


async def page_of_metrics(service: Service, _: Request) -> Answer:
    """Prometheus' text format."""
    body = metrics.render(service.core.counts, service.name, service.created)
    return Answer(body=body, content_type=metrics.CONTENT_TYPE)


async def models(service: Service, _: Request) -> Answer:
    """Every served name and every adapter, all with the same root and length."""
    now = int(time.time())
    return json_answer(
        {
            "object": "list",
            "data": [_card(service, n, now) for n in service.arguments.model_names],
        }
    )


def _card(service: Service, name: str, now: int) -> dict[str, Any]:
    permission = {
        "id": f"modelperm-{secrets.token_hex(8)}",
        "object": "model_permission",
        "created": now,
        "allow_create_engine": False,
        "allow_sampling": True,
        "allow_logprobs": True,
        "allow_search_indices": False,
        "allow_view": True,
        "allow_fine_tuning": False,
        "organization": "*",
        "group": None,
        "is_blocking": False,
    }
    return {
        "id": name,
        "object": "model",
        "created": now,
        "owned_by": "vllm",
        "root": str(service.arguments.model),
        "parent": None,
        "max_model_len": service.context_tokens,
        "permission": [permission],
    }


async def tokenize(service: Service, request: Request) -> Answer:
    """The token ids of a prompt or a chat."""
    body = service.read(request)
    prompt = body.get("prompt")
    if not isinstance(prompt, str):
        prompt = text.render_chat(read_messages(body))
    tokens = text.split(prompt)
    return json_answer(
        {
            "count": len(tokens),
            "max_model_len": service.context_tokens,
            "tokens": [text.number(token) for token in tokens],
            "token_strs": tokens if body.get("return_token_strs") else None,
        }
    )


async def detokenize(service: Service, request: Request) -> Answer:
    """The text of token ids."""
    body = service.read(request)
    tokens = body.get("tokens")
    if not isinstance(tokens, list) or not all(type(token) is int for token in tokens):
        raise errors.invalid_field("missing", "tokens", "Field required", body)
    return json_answer({"prompt": text.spell(tokens)})


async def embeddings(service: Service, request: Request) -> Answer:
    """Vectors made from the input's checksum: equal texts are equal, others are not."""
    body = service.read(request)
    prompts = read_prompts({"prompt": body.get("input")})
    size = int(
        body.get("dimensions") or read_config(service.arguments.model).get("hidden_size", 64)
    )
    data = []
    for index, prompt in enumerate(prompts):
        vector = embed(prompt, size)
        packed = struct.pack(f"<{size}f", *vector)
        as_text = body.get("encoding_format") == "base64"
        value = base64.b64encode(packed).decode() if as_text else vector
        data.append({"index": index, "object": "embedding", "embedding": value})
    tokens = sum(len(text.split(prompt)) for prompt in prompts)
    async for _ in service.core.run(Plan(tokens, [""], "stop")):
        pass
    return json_answer(
        {
            "id": make_id("embd", request),
            "object": "list",
            "created": int(time.time()),
            "model": service.name,
            "data": data,
            "usage": service.usage(tokens, 0),
        }
    )


def embed(prompt: str, size: int) -> list[float]:
    """A vector of length 1 with `size` numbers, the same for the same text."""
    raw = hashlib.shake_256(prompt.encode("utf-8", "surrogatepass")).digest(2 * size)
    numbers = [value / 32768.0 for value in struct.unpack(f"<{size}h", raw)]
    length = sum(value * value for value in numbers) ** 0.5 or 1.0
    return [value / length for value in numbers]
