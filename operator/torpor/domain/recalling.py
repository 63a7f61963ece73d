"""What is learned of an endpoint as a short text for its status, and back: at most 512 bytes of JSON.

The 80 numbers of the habits are packed, three characters each, on a logarithmic scale of 64^3 steps from 0 to 10 000:
a step is less than 0.01 % of a number above 0.1, so that fading by 0.5 % per gap survives a controller that restarts
after each of them. Writing down what was read gives the same text. What cannot be read is forgotten: an endpoint that
knows nothing works, one whose memory is wrong would not.
"""

from __future__ import annotations

import json
import math
from typing import Any

from torpor.domain.gaps import BINS, HOURS, Habits
from torpor.domain.keepalive import MISSES, Learned

MOST_BYTES = 512
_VERSION = 1
_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_BASE, _WIDTH = len(_DIGITS), 3
_STEPS = _BASE**_WIDTH - 1
_MOST, _FINE = 10_000.0, 100.0
"""The largest number that can be written, and how finely numbers near 0 are told apart (1 / 100)."""
_SCALE = math.log1p(_MOST * _FINE) / _STEPS
_MOST_WORTH, _MOST_COLD_S = 1e9, 1e6


def encode(learned: Learned) -> str:
    """Return what is remembered as JSON, without spaces."""
    habits = learned.habits
    words: dict[str, Any] = {
        "v": _VERSION,
        "gaps": _pack(habits.gaps),
        "events": _pack(habits.events),
        "idle": _pack(habits.idle_h),
        "worth": round(max(-_MOST_WORTH, min(_MOST_WORTH, learned.worth)), 1),
        "misses": learned.misses,
    }
    if learned.cold_s is not None:
        words["cold"] = round(min(_MOST_COLD_S, learned.cold_s), 3)
    return json.dumps(words, separators=(",", ":"))


def decode(text: str | None) -> Learned:
    """Return what `encode` wrote down; the empty memory for anything else."""
    try:
        words = json.loads(text or "")
        if not isinstance(words, dict) or words["v"] != _VERSION:
            return Learned()
        habits = Habits(
            _unpack(words["gaps"], BINS),
            _unpack(words["events"], HOURS),
            _unpack(words["idle"], HOURS),
        )
        cold_s = words.get("cold")
        return Learned(
            habits,
            None if cold_s is None else _within(cold_s, 0.0, _MOST_COLD_S) or None,
            _within(words["worth"], -_MOST_WORTH, _MOST_WORTH),
            int(_within(words["misses"], 0, MISSES)),
        )
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return Learned()


def _pack(numbers: tuple[float, ...]) -> str:
    return "".join(map(_written, numbers))


def _written(number: float) -> str:
    step = round(math.log1p(max(0.0, min(_MOST, number)) * _FINE) / _SCALE)
    return "".join(_DIGITS[step // _BASE**place % _BASE] for place in range(_WIDTH - 1, -1, -1))


def _unpack(text: object, count: int) -> tuple[float, ...]:
    if not isinstance(text, str) or len(text) != count * _WIDTH:
        raise ValueError(f"expected {count} numbers of {_WIDTH} characters")
    return tuple(_read(text[k : k + _WIDTH]) for k in range(0, len(text), _WIDTH))


def _read(digits: str) -> float:
    step = 0
    for digit in digits:
        step = step * _BASE + _DIGITS.index(digit)
    return math.expm1(step * _SCALE) / _FINE


def _within(value: object, least: float, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("expected a number")
    if not least <= value <= most:
        raise ValueError(f"expected {least:g} to {most:g}")
    return float(value)
