"""docs/report.md shows what the commands print, and its price list is taken."""

from __future__ import annotations

from pathlib import Path

from tests.docs.reading import Block, blocks
from tests.report.samples import statement
from torpor.api.gpuclass import GPUClass
from torpor.prices.program import take
from torpor.prices.skypilot import Wanted
from torpor.report.focus import COLUMNS
from torpor.report.table import as_table

PAGE = "docs/report.md"


def block_in(language: str) -> Block:
    (found,) = (block for block in blocks(language) if block.path == PAGE)
    return found


def test_the_table_is_what_the_sample_cluster_gives() -> None:
    command, _, shown = block_in("console").text.partition("\n")
    assert command == "$ torpor report --month 2026-11"
    assert shown.strip("\n") == as_table(statement()).strip("\n")


def test_the_price_list_makes_classes() -> None:
    taken = take(block_in("csv").text, "ours.csv", Wanted("", None, "2026-11-26"))
    found = [GPUClass.model_validate(manifest.body) for manifest in taken.manifests]
    assert [(c.name, c.spec.gpus_per_node) for c in found] == [("h100", 8), ("a6000", 4)]


def test_every_column_that_the_page_explains_is_written() -> None:
    page = (Path(__file__).resolve().parents[2] / PAGE).read_text()
    rows = page.split("| column | what it holds |")[1].split("\n\n")[0].splitlines()[2:]
    named = {name.strip(" `") for row in rows for name in row.split("|")[1].split(",")}
    assert len(named) > 10
    assert named <= set(COLUMNS)
