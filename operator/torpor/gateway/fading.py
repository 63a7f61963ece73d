"""What becomes of the metrics of endpoints, keys and adapters that are gone.

They stay for a while: a counter that vanished with its endpoint would take along what nobody had scraped yet, and a
request that runs on is still to be counted. Then they are dropped, or each name that ever was would be kept for ever.
"""

from __future__ import annotations

from torpor.gateway.catalogue import Entry
from torpor.gateway.tally import KEPT_MS
from torpor.metrics import GatewayMetrics, Gone


class Fading:
    """The series that are to be dropped, and when."""

    def __init__(self, metrics: GatewayMetrics) -> None:
        """Drop them from *metrics*."""
        self._metrics = metrics
        self._due: dict[Gone, int] = {}

    def changed(self, before: Entry | None, entry: Entry | None, now_ms: int) -> None:
        """Note what *entry* has no more of what *before* had; what is back goes on counting where it was."""
        if before is not None and entry is not None and before.counted_as == entry.counted_as:
            return
        was, there = _series(before), _series(entry)
        for gone in was - there:
            assert before is not None
            longest_ms = round(before.total_timeout * 1000)
            self._due[gone] = now_ms + KEPT_MS + longest_ms
        for back in there:
            self._due.pop(back, None)
        if before is not None and (entry is None or entry.whose != before.whose):
            self._metrics.left(before.whose)

    def drop(self, now_ms: int) -> None:
        """Drop what is due."""
        for gone in [gone for gone, due in self._due.items() if due <= now_ms]:
            del self._due[gone]
            self._metrics.forget(gone)


def _series(entry: Entry | None) -> set[Gone]:
    if entry is None:
        return set()
    whose = entry.whose
    return {
        Gone(whose),
        *(Gone(whose, key=name) for name in entry.key_names),
        *(Gone(whose, adapter=name) for name in entry.adapters),
    }
