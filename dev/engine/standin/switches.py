"""What a test asks of the stand-in, by environment. All default to a quick, healthy engine."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal, get_args

Crash = Literal["", "at-start", "after-load", "on-request", "engine-dies"]


@dataclass(frozen=True)
class Switches:
    """Each field is read from STANDIN_<NAME IN CAPITALS>."""

    import_seconds: float = 0.0
    """The port stays closed this long before anything else (vLLM's imports and, in truth, its
    whole start: real vLLM refuses connections until it can answer)."""

    load_seconds: float = 0.0
    """Then the port is open and every path answers 503 for at least this long while the weights are
    read. Real vLLM has no such phase; other engines do, and a gateway must bear it."""

    first_token_seconds: float = 0.0
    """Time between the start of a request and its first token (prefill)."""

    tokens_per_second: float = 200.0
    """Speed of each running request; 0 is as fast as the machine allows."""

    reply_tokens: int = 0
    """Length of every reply, within what the request allows; 0: the reply is an echo."""

    vram_bytes: int = 0
    """Memory of each GPU; weights × 1.2 above `vram_bytes × --tensor-parallel-size` are refused
    with vLLM's out-of-memory error. 0: no limit."""

    crash: Crash = ""
    """`at-start`: exits 1 before the port opens. `after-load`: exits 1 with the weights read, before
    it is healthy. `on-request`: is gone, as if killed, after the first token of the first request.
    `engine-dies`: the first request ends in vLLM's error, /health turns 503, then it exits."""

    deaf_start: int = 0
    """1: a SIGTERM before it is healthy is lost and it serves on, as real vLLM does; only SIGKILL
    ends it. 0: it ends at once, which keeps tests quick."""

    last_words: str = ""
    """Last line of the log when it crashes; empty: vLLM's own."""


def _parse(default: object, text: str) -> object:
    """Read text as the kind of value that the default is."""
    if isinstance(default, int):
        return int(text)
    return float(text) if isinstance(default, float) else text


def read(environment: Mapping[str, str] | None = None) -> Switches:
    """Read the switches.

    Raises:
        ValueError: a value cannot be read, or an STANDIN_ variable is unknown; both named.
    """
    given = dict(os.environ if environment is None else environment)
    values: dict[str, object] = {}
    for field in fields(Switches):
        name = f"STANDIN_{field.name.upper()}"
        text = given.pop(name, "")
        if not text:
            continue
        if field.name == "crash" and text not in get_args(Crash):
            raise ValueError(f"{name}={text!r} is none of {', '.join(get_args(Crash)[1:])}")
        try:
            values[field.name] = _parse(field.default, text)
        except ValueError as error:
            raise ValueError(f"{name}={text!r} is no number") from error
    if unknown := sorted(name for name in given if name.startswith("STANDIN_")):
        raise ValueError(f"no such switch: {', '.join(unknown)}")
    return Switches(**values)  # type: ignore[arg-type]
