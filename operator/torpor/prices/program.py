"""`torpor prices import`: a price list in, GPUClasses out; all of them, or none and what is wrong."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, date, datetime
from pathlib import Path

from torpor.prices import own, skypilot
from torpor.prices.listing import BadList, BadRow, Taken, header_of, rows_of
from torpor.prices.manifests import as_yaml
from torpor.prices.skypilot import Wanted

FORMS = (
    f"a SkyPilot catalogue ({', '.join(skypilot.NEEDED)}) "
    f"or torpor's own list ({', '.join(own.NEEDED)})"
)


def main(argv: list[str]) -> int:
    """Make the manifests; 1 if a row is wrong, and then nothing is written."""
    asked = parser().parse_args(argv)
    path = Path(asked.file)
    try:
        text, written = _read(path)
        wanted = Wanted(
            cloud=asked.cloud,
            region=asked.region,
            as_of=asked.as_of or written,
            accelerators=frozenset(asked.accelerator),
            gpu_only=asked.gpu_only,
        )
        taken = take(text, path.name, wanted)
        _write(as_yaml(taken.manifests, path.name), asked.output)
    except BadList as error:
        for sentence in error.sentences:
            sys.stderr.write(f"torpor prices: {sentence}\n")
        sys.stderr.write("torpor prices: nothing was written\n")
        return 1
    for note in taken.notes:
        sys.stderr.write(f"torpor prices: {note}\n")
    return 0


def take(text: str, file: str, wanted: Wanted) -> Taken:
    """Return the manifests of a list in either form.

    Raises:
        BadList: It is in neither, or something in it is wrong.
    """
    header = header_of(text)
    if "gpu_class" in header:
        needed, known, taker = own.NEEDED, own.COLUMNS, own.take
    elif "AcceleratorName" in header:
        needed, known, taker = skypilot.NEEDED, tuple(header), skypilot.take
    else:
        raise BadList([f"{file} line 1: the header is neither that of {FORMS}"])
    strange = [name for name in header if name not in known]
    if strange:
        raise BadList([f"{file} line 1: column {strange[0]!r} is not one of {', '.join(known)}"])
    missing = [name for name in needed if name not in header]
    if missing:
        raise BadList([f"{file} line 1: column {missing[0]} is missing"])
    try:
        return taker(rows_of(text, file), file, wanted)
    except BadRow as error:
        raise BadList([str(error)]) from error


def _read(path: Path) -> tuple[str, str]:
    """Return a file's text, and the day (UTC) on which it was written."""
    try:
        text = path.read_text(encoding="utf-8")
        written = datetime.fromtimestamp(path.stat().st_mtime, UTC).date()
    except (OSError, UnicodeDecodeError) as error:
        raise BadList([f"{path} cannot be read: {error}"]) from error
    return text, written.isoformat()


def _write(text: str, output: str) -> None:
    """Write all of it, or leave what was there: a file takes its place only when it is complete."""
    if output == "-":
        sys.stdout.write(text)
        return
    path = Path(output)
    fresh = path.with_name(f".{path.name}.new")
    try:
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise BadList([f"{output} cannot be written: {error}"]) from error


def _day(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day such as 2026-11-26") from error


def parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    made = argparse.ArgumentParser("torpor prices", description="Price lists and GPUClasses.")
    verbs = made.add_subparsers(required=True, metavar="VERB")
    verb = verbs.add_parser("import", help="make GPUClasses from a price list")
    verb.add_argument("file", metavar="FILE.csv", help=FORMS)
    verb.add_argument("--cloud", default="", help="who runs the machines, such as aws")
    verb.add_argument("--region", help="needed where the list has GPUs in several")
    verb.add_argument(
        "--accelerator",
        action="append",
        default=[],
        metavar="NAME",
        help="take only this one, as the list names it; may be repeated",
    )
    verb.add_argument(
        "--as-of", type=_day, metavar="YYYY-MM-DD", help="default: the day the file was written"
    )
    verb.add_argument(
        "--gpu-only", action="store_true", help="take prices of GPUs without their machine"
    )
    verb.add_argument("--output", default="-", metavar="FILE", help="default: -, to print")
    return made
