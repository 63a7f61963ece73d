"""Which price holds when: the dated price rows of a GPU class, and what a pod is billed by.

A price changes in one of two ways. A row with a date holds from that instant on, whenever it was written down: what
runs then is cut there, exactly. A price that was edited without a date holds from the moment it is first seen: what was
counted before stays as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torpor.domain.ledger import LivePod, Price, Segment


@dataclass(frozen=True, slots=True)
class Tariff:
    """The prices of one GPU class: (epoch ms from which it holds, price), ascending, none twice at one instant."""

    unknown: Price
    """What holds before the first row."""
    rows: tuple[tuple[int, Price], ...] = ()

    def at(self, instant_ms: int) -> Price:
        """Return the price that holds at an instant."""
        held = [price for start, price in self.rows if start <= instant_ms]
        return held[-1] if held else self.unknown

    def changes(self, after_ms: int, through_ms: int) -> list[tuple[int, Price]]:
        """Return the rows that begin after one instant and not after another."""
        return [row for row in self.rows if after_ms < row[0] <= through_ms]


def cut_by(entry: LivePod, tariff: Tariff, until_ms: int) -> LivePod:
    """Begin a new segment of the pod at each change of its price up to *until_ms*, or to its end.

    A change is one of a dated row, at its date, or of the price itself, now.
    """
    # Busy time that is folded cannot be told apart any more: a row written down late holds from there on.
    segments = cut(
        entry.segments, tariff, until_ms, entry.finished_ms, not_before=entry.busy_through_ms
    )
    return entry if segments == entry.segments else replace(entry, segments=segments)


def cut(
    segments: tuple[Segment, ...],
    tariff: Tariff,
    until_ms: int,
    ended_ms: int | None,
    not_before: int,
) -> tuple[Segment, ...]:
    """Return segments with one more for each change of the price up to *until_ms*, or to the end of what they are of.

    Args:
        segments: So far; at least one.
        tariff: The prices as they are known now.
        until_ms: Now.
        ended_ms: When it ended; None while it lasts.
        not_before: No segment begins earlier, whatever a row's date says.
    """
    end = until_ms if ended_ms is None else min(until_ms, ended_ms)
    for at, price in tariff.changes(segments[-1].from_ms, end):
        segments = _followed(segments, max(at, not_before), price)
    if ended_ms is None and until_ms > segments[-1].from_ms:
        segments = _followed(segments, until_ms, tariff.at(until_ms))
    return segments


def _followed(segments: tuple[Segment, ...], at: int, price: Price) -> tuple[Segment, ...]:
    if price.id == segments[-1].price.id:
        return segments
    return (*segments, Segment(price, at))


def rounded_up(lifetime_ms: int, price: Price) -> int:
    """Return the ms that a provider bills beyond a lifetime: up to its step, and to its least.

    Applied once per billed lifetime, when it is over (cost-policy §2.2).
    """
    step = max(1, price.granularity_s * 1000)
    billed = max(-(-lifetime_ms // step) * step, price.minimum_s * 1000)
    return billed - lifetime_ms


def stretches(
    tariff: Tariff, before: Price | None, since_ms: int, until_ms: int
) -> Sequence[tuple[Price, int]]:
    """Return (price, ms) of each stretch of one price between two instants.

    Args:
        tariff: The prices as they are known now.
        before: What held at *since_ms* by what was known then; None for what the tariff says.
        since_ms: Beginning.
        until_ms: End.
    """
    found, price, at = list[tuple[Price, int]](), before or tariff.at(since_ms), since_ms
    for change, follows in tariff.changes(since_ms, until_ms):
        found.append((price, change - at))
        price, at = follows, change
    return [*found, (price, until_ms - at)]
