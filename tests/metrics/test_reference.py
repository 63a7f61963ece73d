"""docs/metrics.md names every metric that the programs show, as they show it, and no other."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from tests.docs.reading import Block, blocks
from tests.metrics.filled import Shown, shown
from tests.metrics.promql import labels_of
from torpor.metrics import Whose

PAGE = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"
_ROW = re.compile(r"^\| `(torpor_\w+)` \| (\w+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.M)
UNITS = {
    "_gpu_seconds_total": "GPU-s",
    "_tokens_total": "tokens",
    "_bytes_per_second": "B/s",
    "_bytes": "B",
    "_cost_per_hour": "money/h",
    "_cost_total": "money",
    "_seconds": "s",
    "_seconds_total": "s",
}
OPENCOST = {
    "llm_total_cost": Shown(
        "llm_total_cost",
        "gauge",
        "Hourly cost of a model.",
        frozenset({"model_name", "model_version", "namespace", "cost_basis"}),
    )
}
"""What another program exposes, by its own documents."""


class Row(NamedTuple):
    kind: str
    labels: frozenset[str]
    unit: str
    meaning: str


def rows() -> dict[str, Row]:
    found = {}
    for name, kind, labels, unit, meaning in _ROW.findall(PAGE.read_text()):
        assert name not in found, f"{name} stands there twice"
        whose = set() if labels == "alone" else set(Whose._fields)
        named = frozenset({*re.findall(r"`(\w+)`", labels), *whose})
        found[name] = Row(kind, named, unit, meaning)
    return found


def test_every_metric_is_explained_and_none_that_is_not_there() -> None:
    assert set(rows()) == set(shown())


@pytest.mark.parametrize("name", sorted(shown()))
def test_a_metric_is_explained_as_it_is(name: str) -> None:
    row, there = rows()[name], shown()[name]
    assert (row.kind, row.labels) == (there.kind, there.labels)
    endings = [ending for ending in UNITS if name.endswith(ending)]
    if endings:
        assert row.unit == UNITS[max(endings, key=len)]
    assert row.meaning.strip().endswith(".")
    assert there.help.endswith(".")


def page_blocks(language: str) -> list[Block]:
    return [block for block in blocks(language) if block.path == "docs/metrics.md"]


@pytest.mark.parametrize("block", page_blocks("promql"), ids=str)
def test_every_query_asks_for_what_is_exposed(block: Block) -> None:
    assert labels_of(block.text, shown() | OPENCOST)


def test_a_clients_cost_is_a_share_by_tokens_of_the_cost() -> None:
    first = page_blocks("promql")[0].text
    assert labels_of(first, shown()) == frozenset({"namespace", "endpoint", "key", "currency"})
    renamed = {n: replace(s, labels=s.labels - {"key"}) for n, s in shown().items()}
    with pytest.raises(Exception, match="no label key"):
        labels_of(first, renamed)


def test_the_rules_record_what_the_query_gives() -> None:
    (text,) = (block.text for block in page_blocks("yaml") if "groups:" in block.text)
    rules = [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    recorded = {rule["record"]: {*(labels_of(rule["expr"], shown()) or ())} for rule in rules}
    assert recorded == {
        "endpoint_key:torpor_tokens:increase1h": {"namespace", "endpoint", "key"},
        "endpoint_key:torpor_cost:increase1h": {"namespace", "endpoint", "key", "currency"},
    }
    query = page_blocks("promql")[0].text.replace("[1d]", "[1h]")
    assert " ".join(rules[1]["expr"].split()) == " ".join(query.split())
