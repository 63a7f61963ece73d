"""A statement as a table for people, no wider than a terminal of 120 columns."""

from __future__ import annotations

from decimal import Decimal

from torpor.domain import money
from torpor.domain.money import Exact
from torpor.domain.monthly import Reach
from torpor.report.figures import UNKNOWN, totals_of
from torpor.report.statement import Line, Statement, instant

WIDTH = 120
SHORTEST_NAME = 8
HEADER = (
    "NAMESPACE", "ENDPOINT", "MODEL", "SPENT", "PER MTOK",
    "STARTING", "BUSY", "IDLE", "ENDING", "TOK IN", "TOK OUT", "WAKES", "SAVED",
)  # fmt: skip
NAMES = 3
"""Columns at the left that are names: shortened where the table would be too wide."""
_STEPS = ((10**9, "G"), (10**6, "M"), (10**3, "k"))


def as_table(statement: Statement) -> str:
    """Return the table, a total per currency, and what a reader has to know."""
    title = (
        f"{statement.month}, read at {instant(statement.now_ms)}. "
        "Phases in GPU-hours; WAKES and SAVED since each endpoint's creation."
    )
    if not statement.lines:
        return "\n".join([title, "", "No endpoint has figures of this month.", *_foot(statement)])
    cells = [HEADER, *(_cells(line) for line in statement.lines)]
    return "\n".join([title, "", *_aligned(cells), "", *_totals(statement), *_foot(statement)])


def _cells(line: Line) -> tuple[str, ...]:
    total = line.use.total
    untold = line.use.reach is Reach.NONE
    spent = _money(money.amount(total.spent))
    return (
        line.namespace,
        line.endpoint,
        line.model,
        spent if spent == UNKNOWN else f"{spent} {line.currency}",
        _rate(total.spent, total.tokens),
        *(
            UNKNOWN if untold else _fixed(money.gpu_hours(used), 2)
            for _, used in total.phases.named
        ),
        UNKNOWN if untold else count(total.prompt),
        UNKNOWN if untold else count(total.completion),
        str(line.wakes),
        _money(line.saved),
    )


def _money(amount: str | None) -> str:
    """Return an amount with two places, or with four where it is so small that two would hide it."""
    if amount is None:
        return UNKNOWN
    places = 2 if abs(Decimal(amount)) >= 1 or Decimal(amount) == 0 else 4
    return _fixed(amount, places)


def _fixed(amount: str, places: int) -> str:
    """Return an amount with exactly so many places, half to even."""
    return f"{Decimal(amount):.{places}f}"


def _rate(micro_ms: Exact | None, tokens: int) -> str:
    if micro_ms is None:
        return UNKNOWN
    return money.per_million_tokens(micro_ms, tokens) or "-"


def count(tokens: int) -> str:
    """Return a number of tokens in at most six characters, such as 812, 4.1k or 12.3M."""
    for step, unit in _STEPS:
        if tokens >= step:
            return f"{Decimal(tokens) / step:.1f}{unit}"
    return str(tokens)


def _aligned(cells: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in cells) for column in range(len(HEADER))]
    while sum(widths) + len(widths) - 1 > WIDTH and max(widths[:NAMES]) > SHORTEST_NAME:
        widths[widths[:NAMES].index(max(widths[:NAMES]))] -= 1
    return [
        " ".join(
            _short(text, width).ljust(width) if column < NAMES else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def _short(name: str, width: int) -> str:
    return name if len(name) <= width else f"{name[: width - 1]}…"


def _totals(statement: Statement) -> list[str]:
    found: list[str] = []
    for total in totals_of(statement.lines):
        many = "1 endpoint" if total.endpoints == 1 else f"{total.endpoints} endpoints"
        known = total.endpoints - total.unknown
        amount = _money(money.amount(total.micro_ms)) if known else UNKNOWN
        without = f", without the {total.unknown} whose cost is unknown" if total.unknown else ""
        found.append(f"Total {total.currency}: {amount} ({many}{without if known else ''})")
    return found


def _foot(statement: Statement) -> list[str]:
    lost = "Deleted endpoints are not counted: their figures went with them."
    return ["", *(f"* {note}" for note in statement.notes), f"* {lost}", ""]
