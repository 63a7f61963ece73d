"""A client that leaves in the middle of a write frees what its answer held, at once."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, cast

import pytest

from dev.engine.standin.wire import Answer, _write_answer


class Broken:
    """A writer whose peer is gone."""

    def write(self, data: bytes) -> None:
        self.last = data

    async def drain(self) -> None:
        if b"first" in self.last:
            raise ConnectionResetError


def test_a_stream_whose_client_is_gone_is_closed_before_the_error_goes_on() -> None:
    held = ["slot"]

    async def tokens() -> AsyncGenerator[bytes, None]:
        try:
            yield b"first"
            yield b"second"
        finally:
            held.clear()

    async def answer() -> list[str]:
        with pytest.raises(ConnectionResetError) as caught:
            await _write_answer(cast("Any", Broken()), Answer(stream=tokens()), close=False)
        assert caught.tb is not None, "which keeps the frame and all it refers to alive"
        return list(held)

    assert asyncio.run(answer()) == []
