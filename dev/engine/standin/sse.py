"""Server-sent events as vLLM writes them."""

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from .errors import ApiError
from .wire import Answer

DONE = b"data: [DONE]\n\n"


def event(value: Any, name: str | None = None) -> bytes:
    """One event with `value` as JSON."""
    data = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {data}\n\n".encode()


async def end_with_done(events: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """The events, then an error object if they failed, then `[DONE]`."""
    try:
        async with aclosing(events) as pieces:
            async for piece in pieces:
                yield piece
    except ApiError as error:
        yield event(error.body())
    yield DONE


def stream(events: AsyncGenerator[bytes, None]) -> Answer:
    """The response that carries the events."""
    return Answer(content_type="text/event-stream; charset=utf-8", stream=events)
