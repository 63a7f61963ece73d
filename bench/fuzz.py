"""A gateway is told nonsense for minutes: whole requests, damaged ones, and requests hidden in requests, by hypothesis.

Every whole request has exactly one answer; every refusal is an OpenAI error object; 500 never comes; nothing hangs,
nothing hidden reaches the engine, nothing is written to the log, and at the end the gateway holds what it held before.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import threading
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import uvloop
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from bench.frame.ending import end_with
from bench.frame.figures import Figure, report
from bench.fuzzing.conversations import Conversation, conversations
from bench.fuzzing.judging import Wrong
from bench.fuzzing.stage import Stage, open_stage
from dev.cluster.progress import say

ROUND = 50
"""Examples with one seed; a failure is made as small as possible within its round."""
LEAST, MOST = 4, 40
"""Conversations of one example, which are held at once."""
MINUTES = 3.0


class Fuzzing:
    """Runs the stage in a thread, for hypothesis itself knows no event loop."""

    def __init__(self) -> None:
        """Start the thread."""
        self._loop = uvloop.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run *work* in the thread and return what it returns."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def round(self, stage: Stage, number: int, examples: int) -> None:
        """Hold a round of conversations.

        Raises:
            Wrong: something must not be; the conversation is printed.
        """

        @seed(number)
        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
            print_blob=False,
            report_multiple_bugs=False,
        )
        @given(st.lists(conversations(), min_size=LEAST, max_size=MOST))
        def hold(all_said: list[Conversation]) -> None:
            try:
                self.do(stage.hold(all_said))
            except Wrong as wrong:
                if not stage.found:  # making it smaller takes minutes
                    say(f"seed {number}: {wrong}")
                stage.found += 1
                raise

        hold()


def run() -> int:
    """Fuzz for so many minutes and return 1 if something was found."""
    parser = argparse.ArgumentParser("bench.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument(
        "--check", action="store_true", help="as always: anything found is a failure"
    )
    given_ = parser.parse_args()
    fuzzing = Fuzzing()
    with tempfile.TemporaryDirectory() as folder:
        context = open_stage(Path(folder))
        stage: Stage = fuzzing.do(context.__aenter__())
        try:
            return _report(_fuzz(fuzzing, stage, given_.seed, 60 * given_.minutes))
        finally:
            fuzzing.do(context.__aexit__(None, None, None))


def _fuzz(fuzzing: Fuzzing, stage: Stage, first: int, seconds: float) -> list[Figure]:
    number, found = first, 0
    fuzzing.round(stage, number, 5)  # what it needs at all, it has opened by then
    files, memory = fuzzing.do(stage.settle()), stage.gateway.resident_mb()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not found:
        number += 1
        try:
            fuzzing.round(stage, number, ROUND)
        except Wrong as wrong:
            found += 1
            say(f"seed {number}: {wrong}\n" + "\n".join(getattr(wrong, "__notes__", ())))
        codes = ", ".join(f"{code}: {count}" for code, count in sorted(stage.codes.items()))
        say(
            f"seed {number}: {stage.held} conversations, {stage.reached} requests at the engine; {codes}"
        )
    more = fuzzing.do(stage.settle(files)) - files
    return [
        Figure("conversations", stage.held, ""),
        Figure("requests that reached the engine", stage.reached, ""),
        Figure("found", found, "", 0, exactly=True),
        Figure("open files more than at the start", more, "", 0),
        Figure("memory more than at the start", stage.gateway.resident_mb() - memory, "MB", 20),
    ]


def _report(figures: list[Figure]) -> int:
    return report("fuzz", figures, check=True)


if __name__ == "__main__":
    end_with(run)
