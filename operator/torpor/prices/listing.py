"""A price list as text: its rows with their line numbers, and sentences about those that are wrong."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

Row = dict[str, str]
MOST_SENTENCES = 20
"""Bad rows that are told of; a list in another form than expected has thousands."""


class BadList(Exception):
    """The list cannot be taken; `sentences` says what is wrong, row by row."""

    def __init__(self, sentences: list[str]) -> None:
        """Keep the first sentences, and how many there are."""
        more = len(sentences) - MOST_SENTENCES
        told = sentences[:MOST_SENTENCES] + ([f"and {more} more"] if more > 0 else [])
        super().__init__("\n".join(told))
        self.sentences = told


class BadRow(Exception):
    """One row is wrong; `str()` is a sentence with file, line, column and value."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row stands."""

    file: str
    line: int

    def wrong(self, column: str, value: str, why: str) -> BadRow:
        """Return the error that says what is wrong with one cell."""
        return BadRow(f"{self.file} line {self.line}: {column} {value!r}: {why}")


@dataclass(frozen=True, slots=True)
class Manifest:
    """A GPUClass as it is written into YAML, and what to say above it."""

    body: dict[str, object]
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Taken:
    """What a list gives: manifests, and sentences about what was left out on purpose."""

    manifests: tuple[Manifest, ...]
    notes: tuple[str, ...] = ()


def header_of(text: str) -> list[str]:
    """Return the names of the columns."""
    return next(csv.reader(io.StringIO(text.removeprefix("\ufeff"))), [])


def rows_of(text: str, file: str) -> Iterator[tuple[Place, Row]]:
    """Return each row with its place; empty lines are passed over, and a cell that is not there is empty.

    Raises:
        BadList: It is not CSV, or a row has more cells than there are columns.
    """
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff")), strict=True)
    try:
        header = next(reader, [])
        for cells in reader:
            place = Place(file, reader.line_num)
            if len(cells) > len(header):
                raise BadList(
                    [f"{file} line {place.line}: {len(cells)} cells, the header has {len(header)}"]
                )
            padded = [*cells, *[""] * (len(header) - len(cells))]
            if any(padded):
                yield place, {n: cell.strip() for n, cell in zip(header, padded, strict=True)}
    except csv.Error as error:
        raise BadList([f"{file} line {reader.line_num}: not CSV: {error}"]) from error


def number_in(text: str) -> Decimal | None:
    """Read a finite number; None if the cell holds none."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def price_in(place: Place, column: str, text: str) -> Decimal:
    """Read a price per hour.

    Raises:
        BadRow: It is none, or not more than 0.
    """
    price = number_in(text)
    if price is None:
        raise place.wrong(column, text, "not a price such as 1.861")
    if price <= 0:
        raise place.wrong(
            column,
            text,
            "a price must be more than 0; GPUs that cost nothing by the hour go into "
            "torpor's own CSV with capacity_type owned",
        )
    return price
