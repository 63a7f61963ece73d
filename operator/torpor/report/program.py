"""`torpor report`: what endpoints used in a month, from the cluster or from a file, as a table or for programs."""

from __future__ import annotations

import argparse
import sys

from torpor import clock
from torpor.cluster.endpoints import Json, Unreadable, from_cluster, from_file
from torpor.domain.monthly import Month, month_named, month_of
from torpor.report.statement import Statement, state


def main(argv: list[str]) -> int:
    """Print a statement. 1 if it could not be made, or lacks an endpoint that could not be read."""
    asked = parser().parse_args(argv)
    now_ms = clock.now_ms()
    month: Month = asked.month or month_of(now_ms)
    if month.start_ms > now_ms:
        sys.stderr.write(f"torpor report: {month} has not begun; name an earlier month\n")
        return 1
    try:
        objects = _read(asked)
    except Unreadable as error:
        sys.stderr.write(f"torpor report: {error}\n")
        return 1
    statement = state(objects, month, now_ms)
    sys.stdout.write(_written(statement, asked))
    for fault in statement.faults:
        sys.stderr.write(f"torpor report: {fault}\n")
    return 1 if statement.faults else 0


def _read(asked: argparse.Namespace) -> list[Json]:
    if asked.file is not None:
        return from_file(asked.file, asked.namespace)
    return from_cluster(asked.namespace, asked.kubeconfig, asked.context)


def _written(statement: Statement, asked: argparse.Namespace) -> str:
    """Return the statement in the form asked for; what CSV has no room for is told on the side."""
    from torpor.report.figures import as_csv, as_json
    from torpor.report.focus import as_focus, omitted
    from torpor.report.table import as_table

    if asked.form == "json":
        return as_json(statement)
    if asked.form == "table":
        return as_table(statement)
    sentences = (*statement.notes, *(omitted(statement) if asked.form == "focus" else ()))
    for sentence in sentences:
        sys.stderr.write(f"torpor report: {sentence}\n")
    return as_csv(statement) if asked.form == "csv" else as_focus(statement, asked.account)


def _month(text: str) -> Month:
    try:
        return month_named(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    made = argparse.ArgumentParser(
        "torpor report", description="What endpoints used in a calendar month (UTC)."
    )
    made.add_argument("--month", type=_month, metavar="YYYY-MM", help="default: this month")
    made.add_argument("--namespace", "-n", metavar="NS", help="default: all")
    made.add_argument(
        "--file", metavar="FILE", help="output of kubectl get ie -A -o json; - reads standard input"
    )
    made.add_argument("--kubeconfig", metavar="FILE", help="default: as kubectl finds it")
    made.add_argument("--context", metavar="NAME", help="default: the kubeconfig's current one")
    made.add_argument(
        "--account", metavar="ID", default="torpor", help="BillingAccountId of FOCUS (torpor)"
    )
    form = made.add_mutually_exclusive_group()
    for name, meaning in _FORMS.items():
        form.add_argument(f"--{name}", dest="form", action="store_const", const=name, help=meaning)
    made.set_defaults(form="table")
    return made


_FORMS = {
    "csv": "the table's rows for programs",
    "json": "the same with totals and notes",
    "focus": "FOCUS 1.2 CSV: one row per endpoint and charge period",
}
