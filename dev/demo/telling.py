"""How the demo speaks: chapters, sentences with the time, and what a command really printed."""

from __future__ import annotations

import sys
import textwrap
import threading
import time
from typing import TextIO


class Narrator:
    """Writes the story; safe to use from several threads, a piece at a time."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._chapter = 0

    @property
    def seconds(self) -> float:
        """Seconds since the story began."""
        return time.monotonic() - self._began

    def chapter(self, title: str) -> None:
        """Begin a chapter."""
        self._chapter += 1
        line = f"── {self._chapter} · {title} "
        self._write(f"\n{line:─<100}")

    def say(self, text: str) -> None:
        """Say something, with the time on its first line."""
        first, *rest = text.splitlines() or [""]
        stamp = f"{self.seconds:6.1f} s  "
        self._write("\n".join([stamp + first, *(" " * len(stamp) + line for line in rest)]))

    def show(self, command: str, printed: str) -> None:
        """Show a command and what it printed, as it printed it."""
        self._write(textwrap.indent(f"$ {command}\n{printed.rstrip()}", " " * 10))

    def _write(self, text: str) -> None:
        with self._lock:
            print(text, file=self._out, flush=True)
