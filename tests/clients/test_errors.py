"""Each way to be refused reaches the caller as the class of exception that the client documents for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from dev.clients import Talker
from dev.clients.talker import Raised
from tests.clients.conftest import MODEL, MakeWorld, tell
from tests.gateway.test_refusing import BROKEN, locked
from tests.gateway.world import World

pytestmark = pytest.mark.slow

MOST = 64 * 1024
State = Callable[[World], Awaitable[None]]


async def wrong_key(world: World) -> None:
    world.sleeping(MODEL, access=locked("right"))
    await world.lists(MODEL, key="right")


async def unknown(world: World) -> None:
    world.sleeping("tiny-1b")
    await world.lists("tiny-1b")


async def asleep(world: World) -> None:
    world.sleeping(MODEL)
    await world.lists(MODEL)


async def full(world: World) -> None:
    world.sleeping(MODEL, queue={"maxRequests": 1})
    await world.lists(MODEL)
    waiting = world.asking(MODEL)
    waiting.add_done_callback(lambda task: task.cancelled() or task.exception())
    await world.waiting(1, f"shop/{MODEL}")


async def breaks(world: World) -> None:
    engine = await world.engine(MODEL)
    engine.break_after = 0
    world.endpoint(MODEL)
    world.deployment(MODEL, replicas=1)
    world.pod(engine, name=MODEL, ready=True)
    await world.sees("pod-1", f"shop/{MODEL}")


async def broken(world: World) -> None:
    world.endpoint(MODEL, ready=BROKEN)
    world.deployment(MODEL)
    await world.lists(MODEL)


async def never(world: World) -> None:
    world.sleeping(MODEL, queue={"maxWait": "1s"})
    await world.lists(MODEL)


STATES: dict[int, tuple[State, str]] = {
    401: (wrong_key, "needs a key"),
    404: (unknown, "close to it: tiny-1b"),
    413: (asleep, f"more than {MOST} bytes"),
    429: (full, "queue.maxRequests"),
    502: (breaks, "broke off"),
    503: (broken, "no image x:1"),
    504: (never, "1 s (queue.maxWait)"),
}
OPENAI = {
    401: "AuthenticationError",
    404: "NotFoundError",
    413: "APIStatusError",
    429: "RateLimitError",
    502: "InternalServerError",
    503: "InternalServerError",
    504: "InternalServerError",
}
CLASSES = {
    "openai": OPENAI,
    "node": OPENAI | {413: "APIError"},
    "langchain": {
        401: "OpenAIAuthenticationError",
        404: "OpenAIModelNotFoundError",
        413: "APIStatusError",
        429: "OpenAIRateLimitError",
        502: "OpenAIAPIError",
        503: "OpenAIAPIError",
        504: "OpenAIAPIError",
    },
    "litellm": OPENAI
    | {413: "APIError", 502: "BadGatewayError", 503: "ServiceUnavailableError", 504: "Timeout"},
}
"""LangChain's are also of the official package's classes; both Node's and LiteLLM's have none for 413."""


@pytest.mark.parametrize("status", STATES)
async def test_an_error_is_of_the_class_that_is_documented_for_it(
    make_world: MakeWorld, talker: Talker, status: int
) -> None:
    world = await make_world(max_body_bytes=MOST)
    bring_about, words = STATES[status]
    await bring_about(world)
    said = "x" * 8_000_000 if status == 413 else "hello"
    raised = await tell(talker, world, "chat", key="wrong", model=MODEL, said=said)
    assert isinstance(raised, Raised)
    assert raised.name == CLASSES[talker.name][status], raised
    if talker.name == "langchain":
        assert OPENAI[status] in raised.bases
    assert raised.status == status
    assert words in raised.message


async def test_a_stream_that_breaks_is_an_error_and_never_an_end(
    make_world: MakeWorld, talker: Talker
) -> None:
    world = await make_world()
    await breaks(world)
    world.engines[0].break_after = 2
    raised = await tell(talker, world, "stream", model=MODEL, said="hello", usage=False)
    assert isinstance(raised, Raised)
    assert "APIError" in raised.bases
    assert "broke off" in raised.message


@pytest.mark.parametrize("name", ["openai", "node"])
async def test_batches_are_refused_with_what_to_do_instead(
    make_world: MakeWorld, talkers: dict[str, Talker], name: str
) -> None:
    world = await make_world()
    await asleep(world)
    raised = await tell(talkers[name], world, "batches")
    assert isinstance(raised, Raised)
    assert raised.name == "NotFoundError"
    assert "/v1/chat/completions" in raised.message
