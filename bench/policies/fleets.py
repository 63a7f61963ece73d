"""The fleets: what bench/data holds, and what is made up where a trace may not be shipped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bench.policies.people import people
from torpor.simulate.formats import read_trace
from torpor.simulate.reading import text_of
from torpor.simulate.traffic import Trace

DATA = Path(__file__).parents[1] / "data"
AZURE_FUNCTIONS = "azure-functions"
FILES = {AZURE_FUNCTIONS: "azure-functions-2019.csv.gz", "servegen": "servegen-2025.csv.gz"}
"""Azure's LLM traces are shipped too, but they are an hour without a pause: nothing to decide."""


def fleets() -> Iterator[tuple[str, Trace]]:
    """Return each fleet with its name."""
    for name, file in FILES.items():
        yield name, read_trace(text_of(DATA / file), file)
    yield "people", people()
