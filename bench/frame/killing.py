"""Downloads that are killed at random instants, and what must hold after each: no copy that is not exact."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from bench.frame.relay import Relay

RECORD_BYTES = 33
"""Of one piece in the journal."""

LAST_SECONDS = 60.0
"""No download of these few megabytes takes so long."""


@dataclass
class Tally:
    """What was seen."""

    kills: int = 0
    copies: int = 0
    """Downloads that came to their end, a whole copy each."""
    broken: int = 0
    """Copies that said they were complete, or that an engine could take for it, and were not exact."""
    promised: int = 0
    """Bytes that a killed run's journal held, summed over the runs that went on from it."""
    resumed: int = 0
    """Bytes that those runs did not ask for again."""
    faults: list[str] = field(default_factory=list)
    """What was broken, in words."""

    @property
    def share(self) -> float:
        """Resumed of promised; 1 where nothing was promised."""
        return self.resumed / self.promised if self.promised else 1.0


class Victim:
    """One checkpoint behind a relay, downloaded again and again into one cache."""

    def __init__(
        self, relay: Relay, environment: dict[str, str], originals: dict[str, Path], seed: int
    ) -> None:
        """`originals`: the true bytes of each file, by key. The environment is a prewarm pod's."""
        self.tally = Tally()
        self._relay = relay
        self._environment = environment
        self._cache = Path(environment["TORPOR_CACHE_DIR"])
        self._originals = originals
        self._total = sum(path.stat().st_size for path in originals.values())
        self._random = random.Random(seed)
        self._piece_bytes = int(environment["TORPOR_PREWARM_PART_BYTES"])

    def run(self, kills: int) -> Tally:
        """Kill so many times, then let it come to its end."""
        while self.tally.kills < kills:
            self._run_once(self._draw_instant())
        self._run_once(None)
        return self.tally

    def _draw_instant(self) -> tuple[int, float]:
        """After how many more bytes, and how much later in seconds; some fall before the first, some after the last."""
        left = self._total - self._promised()
        kind = self._random.random()
        if kind < 0.1:
            return 0, self._random.uniform(0.0, 0.5)
        if kind < 0.35:
            return left, self._random.uniform(0.0, 0.25)
        return self._random.randrange(left + 1), self._random.uniform(0.0, 0.02)

    def _run_once(self, instant: tuple[int, float] | None) -> None:
        promised, before = self._promised(), self._relay.bytes
        pod = subprocess.Popen(
            [sys.executable, "-m", "torpor.prewarm", "fetch"],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            if instant is not None:
                self._relay.wait_for(before + instant[0], LAST_SECONDS)
                time.sleep(instant[1])
                pod.kill()
            said = pod.communicate(timeout=LAST_SECONDS)[0]
        finally:
            pod.kill()
            pod.wait()
        self._count_resumed(said, promised)
        if pod.returncode == -signal.SIGKILL:
            self.tally.kills += 1
        elif pod.returncode != 0:
            self._blame(f"ended with {pod.returncode}: {said[-500:]}")
        self._look(ended=pod.returncode == 0)

    def _count_resumed(self, said: str, promised: int) -> None:
        """The first thing that a run says is what it goes on from; one that was killed earlier said nothing."""
        for line in said.splitlines():
            if line.startswith('{"progress"'):
                self.tally.promised += promised
                self.tally.resumed += int(json.loads(line)["progress"]["resumed"])
                return

    def _look(self, *, ended: bool) -> None:
        """Compare every copy that is marked complete; one that is whole makes room for the next download."""
        complete = False
        for model in self._cache.glob("models/*"):
            if not (model / ".torpor" / "READY").exists():
                continue
            complete = True
            for key, original in self._originals.items():
                if not _same(model / key, original):
                    self._blame(f"{key} differs in a copy that is marked complete")
        if ended and not complete:
            self._blame("ended well without a complete copy")
        if complete:
            self.tally.copies += 1
            shutil.rmtree(self._cache)

    def _blame(self, what: str) -> None:
        self.tally.broken += 1
        self.tally.faults.append(what)

    def _promised(self) -> int:
        """Bytes that the journal of the download under way holds, wherever a kill left it."""
        for journal in [*self._cache.glob("partial/*/.torpor/journal"), *self._unmarked_journals()]:
            listing = journal.parent / "listing.json"
            if not listing.exists():  # written after the empty journal
                return 0
            numbers = json.loads(listing.read_text())["files"]
            content = journal.read_bytes()
            total = 0
            for start in range(0, len(content) - RECORD_BYTES + 1, RECORD_BYTES):
                number = int.from_bytes(content[start : start + 4], "little")
                offset = int.from_bytes(content[start + 4 : start + 12], "little")
                total += min(self._piece_bytes, int(numbers[number][1]) - offset)
            return total
        return 0

    def _unmarked_journals(self) -> list[Path]:
        found = self._cache.glob("models/*/.torpor/journal")
        return [journal for journal in found if not (journal.parent / "READY").exists()]


def _same(path: Path, original: Path) -> bool:
    return path.is_file() and path.read_bytes() == original.read_bytes()
