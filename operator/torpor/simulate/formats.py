"""The forms in which traces are published, each turned into requests; chosen by name or by the header.

What a form does not tell is filled in from a random generator with a fixed seed, so that a file always gives the same
requests: the instant within a minute, the arrivals of a window of which only the rate is known, how long an answer
takes (`SERVICE`, the median that the measurements of cost-policy §4.2 took).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random

from torpor.simulate.reading import BadTrace, Line, header_of, lines_of
from torpor.simulate.traffic import Endpoint, Trace, endpoint_of

MINUTE_S, DAY_S = 60.0, 86_400.0
MINUTES = 1440
WINDOW_S = 600.0
SERVICE_S, SERVICE_SIGMA = 6.0, 0.8
"""Lognormal service times: median in seconds, and the deviation of the logarithm."""
TOKENS_PER_SECOND, PROMPT_TOKENS_PER_SECOND = 30.0, 5_000.0
"""How quickly an engine is taken to write and to read, where a trace tells only tokens."""
_SEED = "torpor"
Requests = dict[str, list[tuple[float, float]]]


@dataclass(frozen=True, slots=True)
class Format:
    """One form: how its header is known, and how it is read."""

    known_by: Callable[[tuple[str, ...]], bool]
    expected: str
    read: Callable[[str, str, tuple[str, ...]], Trace]


def read_trace(text: str, file: str, form: str = "auto") -> Trace:
    """Return the trace in a file's text.

    Raises:
        BadTrace: It is in none of the forms, not in the one named, or something in it is wrong.
    """
    header = header_of(text)
    if form == "auto":
        fitting = [name for name, one in FORMATS.items() if one.known_by(header)]
        if not fitting:
            forms = "; ".join(f"{name}: {one.expected}" for name, one in FORMATS.items())
            raise BadTrace(f"{file} line 1: no known form; expected one of {forms}")
        form = fitting[0]
    chosen = FORMATS[form]
    if not chosen.known_by(header):
        raise BadTrace(f"{file} line 1: not {form}; expected {chosen.expected}")
    trace = chosen.read(text, file, header)
    if not trace.requests:
        raise BadTrace(f"{file}: has no request")
    return trace


def _service(chance: Random) -> float:
    return chance.lognormvariate(math.log(SERVICE_S), SERVICE_SIGMA)


def _fleet(file: str, length_s: float, requests: Requests, start_hour: float = 0.0) -> Trace:
    endpoints = tuple(endpoint_of(name, found) for name, found in requests.items())
    return Trace(file, length_s, endpoints, start_hour)


def _azure_functions(text: str, file: str, header: tuple[str, ...]) -> Trace:
    """Counts per minute of one day: each call falls anywhere in its minute."""
    first = next(k for k, name in enumerate(header) if name in ("1", "minute_1"))
    endpoints = list[Endpoint]()
    for line in lines_of(text, file):
        name = line.text("HashFunction")
        chance = Random(f"{_SEED} {name}")
        found = list[tuple[float, float]]()
        for minute in range(len(header) - first):
            if line.cells[first + minute : first + minute + 1] == ("0",):
                continue
            calls = int(line.number_at(first + minute))
            found += [
                ((minute + chance.random()) * MINUTE_S, _service(chance)) for _ in range(calls)
            ]
        endpoints.append(endpoint_of(name, found))
    return Trace(file, (len(header) - first) * MINUTE_S, tuple(endpoints))


def _servegen(text: str, file: str, header: tuple[str, ...]) -> Trace:
    """Rates per ten minutes with the law of the times between arrivals, which are drawn and fitted to the window.

    ServeGen's own files hold one client and have no header; with a column `client` a file holds several.
    """
    names = _SERVEGEN if header != _SERVEGEN_FLEET else None
    requests: Requests = {}
    end = 0.0
    for line in lines_of(text, file, names):
        client = line.text("client") if names is None else file
        found = requests.setdefault(client, [])
        start, rate = line.number_in("start_s"), line.number_in("rate")
        end = max(end, start + WINDOW_S)
        if rate > 0:
            chance = Random(f"{_SEED} {client} {start:g}")
            found += [(start + at, _service(chance)) for at in _window(line, rate, chance)]
    return _fleet(file, math.ceil(end / DAY_S) * DAY_S, requests)


def _window(line: Line, rate: float, chance: Random) -> Iterable[float]:
    """Return the arrivals of a window, in seconds from its beginning."""
    shape = line.number_in("shape")
    law = line.text("pattern")
    if law not in ("Gamma", "Weibull"):
        raise line.wrong("pattern", law, "expected Gamma or Weibull")
    if shape <= 0:
        raise line.wrong("shape", str(shape), "expected a number above 0")
    count = math.ceil(rate * WINDOW_S)
    between = [
        chance.gammavariate(shape, 1.0) if law == "Gamma" else chance.weibullvariate(1.0, shape)
        for _ in range(count + 1)
    ]
    total, at = sum(between), 0.0
    for pause in between[:-1]:
        at += pause / total * WINDOW_S if total > 0 else 0.0
        yield at


def _azure_llm(text: str, file: str, header: tuple[str, ...]) -> Trace:
    """Instants and tokens of the requests of one service."""
    found, first = list[tuple[float, float]](), None
    for line in lines_of(text, file):
        told = line.text("TIMESTAMP")
        try:
            at = datetime.fromisoformat(told[:26]).replace(tzinfo=UTC)
        except ValueError as error:
            raise line.wrong(
                "TIMESTAMP", told, "expected an instant such as 2023-11-16 18:17:03.97"
            ) from error
        first = first or at
        lasts = _answer(line.number_in("ContextTokens"), line.number_in("GeneratedTokens"))
        found.append(((at - first).total_seconds(), lasts))
    if first is None or min(found)[0] < 0:
        raise BadTrace(f"{file}: the rows are not in the order of TIMESTAMP")
    hour = first.hour + first.minute / 60
    return _fleet(file, max(found)[0] + MINUTE_S, {file: found}, hour)


def _answer(prompt: float, written: float) -> float:
    return prompt / PROMPT_TOKENS_PER_SECOND + written / TOKENS_PER_SECOND


def _burstgpt(text: str, file: str, header: tuple[str, ...]) -> Trace:
    """Seconds and tokens of requests to several models; newer files tell how long each took."""
    requests: Requests = {}
    for line in lines_of(text, file):
        if "Elapsed time" in header:
            lasts = line.number_in("Elapsed time")
        else:
            lasts = _answer(line.number_in("Request tokens"), line.number_in("Response tokens"))
        requests.setdefault(line.text("Model"), []).append((line.number_in("Timestamp"), lasts))
    return _fleet(file, _last(requests), requests)


def _plain(text: str, file: str, header: tuple[str, ...]) -> Trace:
    """The form for traces of one's own: a request per row."""
    requests: Requests = {}
    for line in lines_of(text, file):
        told = "service_s" in header
        lasts = line.number_in("service_s") if told else _service(Random(f"{_SEED} {line.number}"))
        requests.setdefault(line.text("endpoint"), []).append((line.number_in("arrival_s"), lasts))
    return _fleet(file, _last(requests), requests)


def _last(requests: Requests) -> float:
    """Return when the last answer of a trace ends that does not tell how long it is."""
    return max((at + lasts for found in requests.values() for at, lasts in found), default=0.0)


def _has(*needed: str) -> Callable[[tuple[str, ...]], bool]:
    return lambda header: set(needed) <= set(header)


def _counts_minutes(header: tuple[str, ...]) -> bool:
    return "HashFunction" in header and ("1" in header or "minute_1" in header)


def _is_servegen(header: tuple[str, ...]) -> bool:
    if header == _SERVEGEN_FLEET:
        return True
    return len(header) == len(_SERVEGEN) and header[0] == "0"


_SERVEGEN = ("start_s", "rate", "cv", "pattern", "shape", "scale")
_SERVEGEN_FLEET = ("client", *_SERVEGEN)
FORMATS: dict[str, Format] = {
    "azure-functions": Format(
        _counts_minutes, "columns HashFunction and 1 … 1440 or minute_1 …", _azure_functions
    ),
    "azure-llm": Format(
        _has("TIMESTAMP", "ContextTokens", "GeneratedTokens"),
        "columns TIMESTAMP, ContextTokens, GeneratedTokens",
        _azure_llm,
    ),
    "servegen": Format(
        _is_servegen,
        f"six columns without a header ({', '.join(_SERVEGEN)}), or these with a header and client",
        _servegen,
    ),
    "burstgpt": Format(
        _has("Timestamp", "Model", "Request tokens", "Response tokens"),
        "columns Timestamp, Model, Request tokens, Response tokens",
        _burstgpt,
    ),
    "csv": Format(
        _has("endpoint", "arrival_s"),
        "columns endpoint, arrival_s and, if known, service_s",
        _plain,
    ),
}
