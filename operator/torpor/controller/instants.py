"""Timestamps of the API server as epoch milliseconds, and back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any


def ms(text: Any) -> int | None:
    """Return an RFC 3339 timestamp as epoch ms; None for None or an empty string."""
    if not text:
        return None
    moment = text if isinstance(text, datetime) else datetime.fromisoformat(str(text))
    return round(moment.timestamp() * 1000)


def moment(epoch_ms: int) -> datetime:
    """Return epoch ms as an aware UTC instant."""
    return datetime.fromtimestamp(epoch_ms / 1000, UTC)
