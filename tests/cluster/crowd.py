"""Many clients in one moment."""

import asyncio

import httpx

from tests.cluster.space import HELLO, Space


async def ask_all(space: Space, name: str, doors: list[str], count: int) -> list[int]:
    """Send `count` requests at once, in turn to each door; return their statuses."""
    asked = {"model": f"{space.name}/{name}", "messages": HELLO, "max_tokens": 4}
    limits = httpx.Limits(max_connections=count)
    async with httpx.AsyncClient(timeout=120, trust_env=False, limits=limits) as client:
        answers = await asyncio.gather(
            *(
                client.post(f"{doors[n % len(doors)]}/v1/chat/completions", json=asked)
                for n in range(count)
            )
        )
    return [answer.status_code for answer in answers]
