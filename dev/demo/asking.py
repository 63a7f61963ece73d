"""The client: the official `openai` package, and an ear for the comments that it does not show."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx2 as httpx
from openai import OpenAI

WAIT_SECONDS = 300.0


@dataclass(frozen=True)
class Answer:
    """What came back, and when: seconds since the request was sent."""

    text: str
    first_token: float
    last_byte: float
    ended_at: float
    """When the last byte came, in epoch seconds."""
    fingerprint: str | None
    completion_tokens: int


class CommentEar:
    """Finds the comments of a stream of server-sent events, whatever pieces it comes in."""

    def __init__(self, heard: Callable[[str], None]) -> None:
        self._heard = heard
        self._rest = b""

    def feed(self, piece: bytes) -> None:
        """Take the next piece; each complete comment is told once."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            if line.startswith(b":"):
                self._heard(line.decode("utf-8", "replace").rstrip("\r"))


class _Overheard(httpx.SyncByteStream):
    def __init__(self, stream: httpx.SyncByteStream, ear: CommentEar) -> None:
        self._stream = stream
        self._ear = ear

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._stream:
            self._ear.feed(piece)
            yield piece

    def close(self) -> None:
        self._stream.close()


class _Listening(httpx.HTTPTransport):
    """httpx's transport; every answer's bytes pass an ear on their way to the client."""

    def __init__(self, heard: Callable[[str], None]) -> None:
        super().__init__()
        self._heard = heard

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = super().handle_request(request)
        assert isinstance(response.stream, httpx.SyncByteStream)
        response.stream = _Overheard(response.stream, CommentEar(self._heard))
        return response


def open_client(url: str, key: str, heard: Callable[[str], None] = lambda _: None) -> OpenAI:
    """Return an OpenAI client for a gateway; `heard` is told every comment of a stream."""
    plain = httpx.Client(transport=_Listening(heard), timeout=WAIT_SECONDS, trust_env=False)
    return OpenAI(base_url=url, api_key=key, http_client=plain, max_retries=0)


def stream_chat(client: OpenAI, model: str, question: str, tokens: int = 48) -> Answer:
    """Ask, and read the answer as it is generated.

    Raises:
        openai.OpenAIError: there was no answer.
    """
    began = time.monotonic()
    first: float | None = None
    text, fingerprint, used = "", None, 0
    stream = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": question}],
        max_tokens=tokens,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            first = time.monotonic() if first is None else first
            text += chunk.choices[0].delta.content
        fingerprint = chunk.system_fingerprint or fingerprint
        used = chunk.usage.completion_tokens if chunk.usage else used
    ended = time.monotonic()
    return Answer(text, (first or ended) - began, ended - began, time.time(), fingerprint, used)
