"""When Python looks for garbage in programs that run for months and must answer at any moment.

A full collection stands still for as long as it takes to look at everything there is: for a controller of a hundred
endpoints 0.2 to 0.5 s (measured), in the very second in which they all wake, since that is when much is made.
"""

from __future__ import annotations

import gc

COLLECTED_AT = 20_000
"""Objects made and not freed after which the collector looks at the young ones. Python's 700 are reached by requests
that run at once, and by every page of JSON, dozens of times a second; almost none of them is part of a cycle."""


def collect_seldom() -> None:
    """Call it after the imports: what they brought is never looked at again, and the rest seldom."""
    gc.freeze()
    gc.set_threshold(COLLECTED_AT)
