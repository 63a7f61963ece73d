"""Which request this is: the id that its client gave it, or one of the gateway's own."""

from __future__ import annotations

import itertools
import re
import secrets

_SANE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+=/@-]{0,127}", re.ASCII)
"""What may stand in a header, a log and a URL as it is; UUIDs and the ids of tracing systems do."""


class RequestIds:
    """Gives each request an id; its own begin with what no other gateway has, and count up."""

    def __init__(self) -> None:
        """Draw the beginning of this gateway's ids."""
        self._start = f"req-{secrets.token_hex(8)}-"
        self._next = itertools.count(1).__next__

    def of(self, given: str) -> str:
        """Return the id that the client gave, if it is sane, or a new one."""
        if given and _SANE.fullmatch(given) is not None:
            return given
        return f"{self._start}{self._next():x}"
