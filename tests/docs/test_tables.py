"""The tables in the README are what kubectl prints of a status that torpor's own code has composed."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import yaml

from tests.docs.reading import ROOT, blocks
from torpor.api.conditions import Reason
from torpor.api.crd import ENDPOINT_COLUMNS, Column
from torpor.api.status import EndpointStatus, TokensStatus
from torpor.domain.catalogue import price_of
from torpor.domain.figures import cost_words, display_words
from torpor.domain.ledger import Meter, Row
from torpor.domain.observation import Demand
from torpor.domain.phases import Phases
from torpor.domain.placement import GPUClassView, Placement
from torpor.domain.prewarmjobs import Weights, WeightsPlan
from torpor.domain.scalingview import Decision
from torpor.domain.status import Outcome, conditions
from torpor.domain.windows import Windows

NOW = datetime(2026, 11, 26, 9, 0, tzinfo=UTC)
HOUR = 3_600_000
L40S = GPUClassView("l40s", "nvidia.com/gpu", 1, 8, (), "r", "DE", "on-demand", 1_861_000, "USD")
TERMINAL = 120
"""Columns of the terminal in which the usual table must not wrap."""


def asleep() -> EndpointStatus:
    """Two days on an L40S, of which it was awake for 2 h 16 min: what the README tells of."""
    awake = 2 * HOUR + 16 * 60_000
    starting, busy, terminating = 360_000, 4_500_000, 120_000
    used = Phases(starting, busy, awake - starting - busy - terminating, terminating)
    meter = Meter((Row(price_of(L40S), used, always_on=48 * HOUR),))
    tokens = TokensStatus(prompt=3_100_000, completion=700_000)
    since = NOW - timedelta(days=2)
    cost = cost_words(meter, Windows(), Demand(()), tokens, "USD", since, NOW)
    placement = Placement(L40S, gpus=1, nodes=("n1",))
    decision = Decision(Reason.IDLE, "asleep: costs nothing, the next request wakes it")
    plan = WeightsPlan(Weights("spec", "a" * 32, bytes=16_060_000_000, files=9))
    outcome = Outcome(decision, placement, plan, (), deployed=True)
    return EndpointStatus(
        conditions=conditions(outcome, (), 1, NOW),
        display=display_words(placement, (), 1, "llama-8b", cost),
        cost=cost,
        tokens=tokens,
        url="http://torpor-gateway.torpor-system.svc/v1",
    )


def cell(column: Column, obj: dict[str, Any]) -> str:
    """Read a column's path as kubectl does: fields, and the one item of a list that has a type."""
    if column.name == "AGE":
        return "2d"
    found: Any = obj
    for step in re.findall(r'\.(\w+)|\[\?\(@\.type=="(\w+)"\)\]', column.path):
        name, kind = step
        found = found[name] if name else next(item for item in found if item["type"] == kind)
    return str(found)


def printed(status: EndpointStatus, *, wide: bool) -> str:
    """Print the table as kubectl does: columns as wide as their widest word, three spaces between."""
    columns = [column for column in ENDPOINT_COLUMNS if wide or column.priority == 0]
    obj = {"status": status.to_dict()}
    header = ["NAME", *(column.name for column in columns)]
    row = ["llama-8b", *(cell(column, obj) for column in columns)]
    widths = [max(len(one), len(other)) for one, other in zip(header, row, strict=True)]
    lines = []
    for words in (header, row):
        padded = [word.ljust(width + 3) for word, width in zip(words, widths, strict=True)]
        lines.append("".join(padded).rstrip())
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("command", "wide"), [("kubectl get ie", False), ("kubectl get ie -o wide", True)]
)
def test_the_readme_shows_what_kubectl_prints(command: str, wide: bool) -> None:
    shown = {
        text.splitlines()[0]: "\n".join(text.splitlines()[1:])
        for text in (block.text for block in blocks("console") if block.path == "README.md")
    }
    assert shown[f"$ {command}"] == printed(asleep(), wide=wide)


def test_the_usual_table_fits_a_terminal_whatever_the_amounts() -> None:
    status = asleep()
    rich = status.model_copy(
        update={
            "cost": status.cost.model_copy(
                update={"spent": "98765.432109", "saved": "-98765.432109", "per_hour": "123.456789"}
            ),
            "display": status.display.model_copy(
                update={"replicas": "12/16", "gpu": "8×h100-sxm", "cost_per_second": "0.034293"}
            ),
        }
    )
    assert max(map(len, printed(rich, wide=False).splitlines())) <= TERMINAL


def test_the_money_in_the_readme_is_that_of_the_catalogue() -> None:
    cost = asleep().cost
    assert "awake for 2 h 16 min" in " ".join((ROOT / "README.md").read_text().split())
    values = yaml.safe_load((ROOT / "charts" / "torpor" / "values.yaml").read_text())
    listed = Decimal(values["gpuClasses"]["catalogue"]["l40s"]["price"]["perGPUHour"])
    assert Decimal(cost.spent or "") + Decimal(cost.saved or "") == 48 * listed
