"""A trace file as text: its cells with their places, and errors that name file, line, column and what was expected."""

from __future__ import annotations

import csv
import gzip
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


class BadTrace(Exception):
    """The trace cannot be read; `str()` is a sentence."""


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a CSV file."""

    file: str
    number: int
    header: tuple[str, ...]
    cells: tuple[str, ...]

    def text(self, column: str) -> str:
        """Return a cell.

        Raises:
            BadTrace: The row is too short to have it.
        """
        place = self.header.index(column)
        if place >= len(self.cells):
            raise self.wrong(column, "", "the row has no such cell")
        return self.cells[place].strip()

    def number_in(self, column: str, least: float = 0.0) -> float:
        """Return a cell as a number.

        Raises:
            BadTrace: It is not one, or less than `least`.
        """
        return self.number_at(self.header.index(column), least)

    def number_at(self, place: int, least: float = 0.0) -> float:
        """Return the cell at a place as a number.

        Raises:
            BadTrace: It is not one, or less than `least`.
        """
        text = self.cells[place].strip() if place < len(self.cells) else ""
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not (number >= least and math.isfinite(number)):
            expected = "a number" if least == -math.inf else f"a number of at least {least:g}"
            raise self.wrong(self.header[place], text, f"expected {expected}")
        return number

    def wrong(self, column: str, value: str, why: str) -> BadTrace:
        """Return the error about one cell."""
        return BadTrace(f"{self.file} line {self.number}: {column} {value!r}: {why}")


def text_of(path: Path) -> str:
    """Return a file's text; one that is compressed with gzip is unpacked, whatever its name.

    Raises:
        BadTrace: It cannot be read.
    """
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        return data.decode("utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise BadTrace(f"{path} cannot be read: {error}") from error


def header_of(text: str) -> tuple[str, ...]:
    """Return the first row."""
    return tuple(cell.strip() for cell in next(csv.reader(io.StringIO(text)), []))


def lines_of(text: str, file: str, header: tuple[str, ...] | None = None) -> Iterator[Line]:
    """Return the rows; empty ones are passed over.

    Args:
        text: The file.
        file: Its name.
        header: Names of the columns if the file does not tell them.

    Raises:
        BadTrace: It is not CSV.
    """
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        names = header or tuple(cell.strip() for cell in next(reader, []))
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield Line(file, reader.line_num, names, tuple(cells))
    except csv.Error as error:
        raise BadTrace(f"{file} line {reader.line_num}: {error}; expected CSV") from error
