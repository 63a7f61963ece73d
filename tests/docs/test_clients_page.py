"""What docs/clients.md says of exceptions and limits is what tests and settings have."""

from __future__ import annotations

import re

from tests.clients.test_errors import CLASSES
from tests.docs.reading import ROOT
from torpor.settings.programs import GatewaySettings

PAGE = (ROOT / "docs" / "clients.md").read_text()
COLUMNS = ("openai", "node", "langchain", "litellm")


def test_the_table_of_exceptions_is_what_the_clients_raise() -> None:
    rows = re.findall(r"^\| (\d{3}) \| [^|]+ \| (.+) \|$", PAGE, re.MULTILINE)
    told = {
        int(status): dict(zip(COLUMNS, re.findall(r"`(\w+)`", names), strict=True))
        for status, names in rows
    }
    assert told == {
        status: {client: CLASSES[client][status] for client in COLUMNS}
        for status in CLASSES["openai"]
    }


def test_the_table_of_limits_has_the_defaults() -> None:
    rows = re.findall(r"^\| `TORPOR_GATEWAY_(\w+)` \| (\d+) \|", PAGE, re.MULTILINE)
    assert len(rows) == 6
    defaults = GatewaySettings()
    assert {name: float(value) for name, value in rows} == {
        name: float(getattr(defaults, name.lower())) for name, _ in rows
    }
