"""How a benchmark's program ends: with its exit code, whatever comes in between."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NoReturn

from dev.cluster import HarnessError
from dev.cluster.progress import say


def end_with(run: Callable[[], int]) -> NoReturn:
    """Run a benchmark and end the program: 2 if it could not be carried out, 130 if it was interrupted."""
    try:
        code = run()
    except HarnessError as failed:
        say(f"FAILED: {failed}")
        code = 2
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)
