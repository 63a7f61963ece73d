"""The status as memory: the tokens, the last good listing and the last failure, out of the status and back into it.

A restarted controller knows only what is here, so both directions lose nothing (a property that tests hold).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from torpor.api.conditions import Condition, ConditionType, Reason
from torpor.api.status import (
    FailureStatus,
    KeepAliveStatus,
    TokenSource,
    TokensStatus,
    WeightsStatus,
)
from torpor.domain.failing import Failure
from torpor.domain.keepalive import Learned
from torpor.domain.keeping import Memory
from torpor.domain.observation import Demand, EngineReport, Fault, GatewayReport, Tokens
from torpor.domain.prewarmjobs import Weights
from torpor.domain.recalling import decode, encode

UNHEARD = 8
"""Gateways no longer heard of whose last token counters are kept, the latest started first."""


def moment(epoch_ms: int) -> datetime:
    """Return epoch ms as an aware UTC instant."""
    return datetime.fromtimestamp(epoch_ms // 1000, UTC).replace(microsecond=epoch_ms % 1000 * 1000)


def epoch_ms(instant: datetime | None) -> int | None:
    """Return an aware instant as epoch ms."""
    return None if instant is None else round(instant.timestamp() * 1000)


def failure_of(words: FailureStatus | None) -> Failure | None:
    """Return the failure that a status holds."""
    if words is None:
        return None
    at = epoch_ms(words.at) or 0
    retry_at = epoch_ms(words.retry_at) or at
    return Failure(
        words.reason, words.message, words.count, at, retry_at, words.generation, words.pod or ""
    )


def failure_words(failure: Failure | None) -> FailureStatus | None:
    """Return a failure as the status says it."""
    if failure is None:
        return None
    return FailureStatus(
        reason=failure.reason,
        message=failure.message,
        count=failure.count,
        at=moment(failure.at_ms),
        retry_at=moment(failure.retry_at_ms),
        generation=failure.generation,
        pod=failure.pod or None,
    )


def weights_of(words: WeightsStatus) -> Weights:
    """Return the last good listing that a status holds."""
    return Weights(
        spec=words.spec or "",
        hash=words.hash or "",
        bytes=words.bytes or 0,
        files=words.files or 0,
        verified=words.verified or "",
        attempt=words.attempt,
        parts=words.parts,
        sources=words.sources,
        lora_rank=words.lora_rank or 0,
        listed_ms=epoch_ms(words.listed_at) or 0,
        doubt=words.doubt or "",
        claim_ready=bool(words.in_claim),
    )


def weights_words(weights: Weights) -> WeightsStatus:
    """Return a listing as the status says it; nodes are added by who knows them."""
    return WeightsStatus(
        hash=weights.hash or None,
        parts=weights.parts,
        sources=weights.sources,
        lora_rank=weights.lora_rank or None,
        listed_at=moment(weights.listed_ms) if weights.listed_ms else None,
        doubt=weights.doubt or None,
        in_claim=weights.claim_ready or None,
        spec=weights.spec,
        attempt=weights.attempt,
        bytes=weights.bytes or None,
        files=weights.files or None,
        verified=weights.verified or None,
    )


def weights_fault_of(conditions: Iterable[Condition]) -> Fault | None:
    """Return what is wrong with the weights as the status says it, if that is why the endpoint is not ready."""
    held = {found.type: found for found in conditions}
    ready, weights = held.get(ConditionType.READY), held.get(ConditionType.WEIGHTS_READY)
    if ready is None or weights is None or (ready.status, weights.status) != ("False", "False"):
        return None
    reason = Reason.of(weights.reason)
    if ready.reason != weights.reason or reason is Reason.WEIGHTS_FETCHING:
        return None
    return Fault(weights.reason, weights.message, reason.retryable)


def memory_of(words: KeepAliveStatus) -> Memory:
    """Return what the status remembers of how requests come back."""
    return Memory(
        decode(words.learned), epoch_ms(words.learned_through), epoch_ms(words.started_at)
    )


def memory_words(memory: Memory) -> dict[str, Any]:
    """Return the fields of `KeepAliveStatus` that remember it."""
    since, started = memory.idle_since_ms, memory.started_ms
    return {
        "learned": encode(memory.learned) if memory.learned != Learned() else None,
        "learned_through": None if since is None else moment(since),
        "started_at": None if started is None else moment(started),
    }


def tokens_counted(
    before: TokensStatus, demand: Demand, direct_since_ms: int | None = None
) -> TokensStatus:
    """Add what the gateways have counted since the status was written; of a direct endpoint what its engines have.

    Each program's counters begin at 0 when it starts, so one with another start is another source. Under one start they
    never fall: a smaller count is an older word and adds nothing. A gateway that is not heard of keeps what it had
    added, and its last counters are remembered: it may only be out of sight.

    An engine counts what comes through gateways as well, so of a direct endpoint theirs is noted and not added; and
    what an engine that is older than *direct_since_ms* had counted when it was first asked was added by gateways.
    """
    sources = {source.gateway: source for source in before.sources}
    added = list[_Added]()
    for report in demand.reports:
        last, now = _next(sources.get(report.gateway), _of_gateway(report))
        sources[report.gateway] = now
        if not demand.direct:
            added.append(_Added(last, now))
    for engine in demand.engines:
        known = sources.get(engine_source(engine.name))
        if known is None and engine.started_ms < (direct_since_ms or 0):
            known = _of_engine(engine)
        last, now = _next(known, _of_engine(engine))
        sources[now.gateway] = now
        added.append(_Added(last, now))
    cached = (before.cached or 0) + sum(one.cached for one in added)
    return TokensStatus(
        prompt=before.prompt + sum(one.prompt for one in added),
        completion=before.completion + sum(one.completion for one in added),
        cached=cached or None,
        sources=_kept(sources, demand),
    )


def engine_source(pod: str) -> str:
    """Return the name under which an engine's counters are remembered; no gateway's pod has a slash in its name."""
    return f"{_ENGINE}{pod}"


_ENGINE = "engine/"


class _Added(NamedTuple):
    """A source before and after a pass."""

    last: TokenSource
    now: TokenSource

    @property
    def prompt(self) -> int:
        return self.now.prompt - self.last.prompt

    @property
    def completion(self) -> int:
        return self.now.completion - self.last.completion

    @property
    def cached(self) -> int:
        return (self.now.cached or 0) - (self.last.cached or 0)


def _of_gateway(report: GatewayReport) -> TokenSource:
    return _source(report.gateway, report.started_ms, report.tokens)


def _of_engine(engine: EngineReport) -> TokenSource:
    return _source(engine_source(engine.name), engine.started_ms, engine.tokens)


def _source(name: str, started_ms: int, tokens: Tokens) -> TokenSource:
    return TokenSource(
        gateway=name,
        started_at_ms=started_ms,
        prompt=tokens.prompt,
        completion=tokens.completion,
        cached=tokens.cached or None,
    )


def _next(last: TokenSource | None, told: TokenSource) -> tuple[TokenSource, TokenSource]:
    """Return a source as it was, and as it is after what it has told."""
    if last is None or last.started_at_ms != told.started_at_ms:
        last = TokenSource(gateway=told.gateway, started_at_ms=told.started_at_ms)
    now = last.model_copy(
        update={
            "prompt": max(last.prompt, told.prompt),
            "completion": max(last.completion, told.completion),
            "cached": max(last.cached or 0, told.cached or 0) or None,
        }
    )
    return last, now


def _kept(sources: Mapping[str, TokenSource], demand: Demand) -> tuple[TokenSource, ...]:
    """Those that are known to be there, and the latest gateways that are not heard of; engines go with their pods."""
    known = {report.gateway for report in demand.reports} | set(demand.unreachable)
    known |= {engine_source(name) for name in (*(e.name for e in demand.engines), *demand.silent)}
    unheard = [name for name in sources.keys() - known if not name.startswith(_ENGINE)]
    unheard.sort(key=lambda name: -sources[name].started_at_ms)
    return tuple(sources[name] for name in sorted(known & sources.keys() | {*unheard[:UNHEARD]}))
