"""One turn of one client, from an empty folder to durable, proven files; and the turns of all, so that noise hits all.

Before every turn the folder is removed and everything synced, the server's files are read once, so that it serves
from memory, and as much memory as a client may fill is touched: a virtual machine gives free memory back to its
host, and whoever writes through the page cache would pay for getting it again. (Past the page cache it costs nothing.)
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.rivals.clients import LIMITS, TORPOR, Client
from bench.rivals.servers import stop
from bench.rivals.target import Target
from dev.cluster import HarnessError
from dev.cluster.commands import run
from dev.cluster.places import child_environment
from dev.cluster.progress import say

MIB = 1 << 20
METER = Path(__file__).with_name("meter.py")
TURN_SECONDS = 900.0
SPARE_BYTES = 512 * MIB
_FOREIGN = ("AWS_", "S3_", "TORPOR_", "RCLONE_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_TOUCH = (
    "import mmap, sys; m = mmap.mmap(-1, int(sys.argv[1])); "
    "[m.__setitem__(at, 1) for at in range(0, len(m), 4096)]"
)


@dataclass(frozen=True)
class Sample:
    """What one turn took. `seconds` to the client's exit, `durable` to the last fsync."""

    seconds: float
    durable: float
    cpu: float
    peak: int
    verified: str


@dataclass
class Result:
    """All counted turns of one client against one server; `failure` says why there are no more."""

    client: Client
    samples: list[Sample] = field(default_factory=list)
    failure: str = ""

    @property
    def usable(self) -> bool:
        """Whether there is something to compare with."""
        return bool(self.samples) and not self.failure


@dataclass(frozen=True)
class Track:
    """Where the turns are run."""

    repo: Path
    work: Path
    target: Target
    sizes: dict[str, int]
    """Bytes of every object by its name below the prefix."""
    spare_bytes: int = SPARE_BYTES
    """Memory touched before a turn, beside as much as is moved."""

    @property
    def total_bytes(self) -> int:
        """What one turn moves."""
        return sum(self.sizes.values())

    @property
    def source(self) -> Path:
        """The folder of the server's files."""
        return self.work / "data" / self.target.bucket / self.target.prefix

    def run_all(self, clients: list[Client], rounds: int) -> list[Result]:
        """Let the clients take turns; round 0 is not counted. A rival that fails is left out from then on.

        Raises:
            HarnessError: torpor or a limit failed.
        """
        results = [Result(client) for client in clients]
        for number in range(rounds + 1):
            at = number % len(results)
            for result in results[at:] + results[:at]:
                if not result.failure:
                    self._take_turn(result, number)
        return results

    def run_chain(
        self, link: Client, between: Sequence[Client], count: int
    ) -> list[tuple[float, ...]]:
        """Let each of `between` run alone before, between and after `count` turns of `link`.

        What a disk takes changes within a minute: each turn is compared with those right beside it.

        Returns:
            For each turn of `link`: its rate, and for each of `between` the mean of its rates beside, MB/s to fsync.

        Raises:
            HarnessError: one of them failed.
        """
        turns: list[tuple[float, ...]] = []
        before = [self._rate_of(client) for client in between]
        for number in range(1, count + 1):
            mine = self._rate_of(link)
            after = [self._rate_of(client) for client in between]
            limits = [(one + other) / 2 for one, other in zip(before, after, strict=True)]
            before = after
            beside = ", ".join(
                f"{client.name} {limit:.0f} MB/s: {mine / limit:.2f}"
                for client, limit in zip(between, limits, strict=True)
            )
            say(
                f"{self.target.server}, turn {number} of {count}: {link.name} {mine:.0f} MB/s, {beside}"
            )
            turns.append((mine, *limits))
        return turns

    def _rate_of(self, client: Client) -> float:
        return self.total_bytes / 1e6 / self.turn(client).durable

    def _take_turn(self, result: Result, number: int) -> None:
        name = result.client.name
        try:
            sample = self.turn(result.client)
            if number == 1 and name not in LIMITS:
                self.compare()
        except HarnessError as failed:
            if name in (TORPOR, *LIMITS):
                raise
            result.failure = str(failed)
            say(f"{self.target.server}: {name} failed and is left out: {failed}")
            return
        if number:
            result.samples.append(sample)
        rate, per_gb = self.total_bytes / 1e6 / sample.durable, 1e9 / self.total_bytes
        say(
            f"{self.target.server}, round {number}: {name}: {rate:.0f} MB/s durable, "
            f"{sample.cpu * per_gb:.2f} CPU s/GB, {sample.peak / 1e6:.0f} MB"
        )

    @property
    def folder(self) -> Path:
        """Where every client brings its files."""
        return self.work / "out"

    def turn(self, client: Client) -> Sample:
        """Prepare, run and measure one client once.

        Raises:
            HarnessError: it failed.
        """
        self.prepare()
        report, log = self.work / "report.json", self.work / "client.log"
        report.unlink(missing_ok=True)
        command, env = client.call(self.target, self.folder)
        words = [sys.executable, "-I", "-S", METER, report, log, self.folder, *command]
        meter = subprocess.Popen(
            [str(word) for word in words],
            cwd=self.work,
            env=clean_environment() | self.target.environment() | env,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            meter.wait(TURN_SECONDS)
        except subprocess.TimeoutExpired:
            raise HarnessError(f"{client.name} did not end in {TURN_SECONDS:.0f} s") from None
        finally:
            stop(meter)
        told = log.read_text(errors="replace").splitlines() if log.exists() else []
        end = "\n".join(told[-8:])
        if not report.exists():
            raise HarnessError(f"{client.name} could not be measured ({meter.returncode}):\n{end}")
        measured: dict[str, float] = json.loads(report.read_text())
        if measured["status"] != 0:
            raise HarnessError(f"{client.name} ended with {measured['status']}:\n{end}")
        return read_sample(client.name, measured, told)

    def prepare(self) -> None:
        """Make the same state before every turn."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        os.sync()
        for name in self.sizes:
            read_through(self.source / name)
        touched = min(self.total_bytes + self.spare_bytes, _available_bytes() // 2)
        run([sys.executable, "-I", "-S", "-c", _TOUCH, str(touched)])

    def compare(self) -> None:
        """Compare every file that the last turn brought with the server's.

        Raises:
            HarnessError: a file is missing or differs.
        """
        brought: dict[str, Path] = {}
        for path in self.folder.rglob("*"):
            if path.is_file() and ".torpor" not in path.parts:
                brought[path.name] = path
        for name in self.sizes:
            if name not in brought:
                raise HarnessError(f"{name} was not brought")
            if not same_bytes(brought[name], self.source / name):
                raise HarnessError(f"{brought[name]} differs from the object")


def read_sample(name: str, measured: dict[str, float], told: list[str]) -> Sample:
    """Read the meter's report and what the client printed.

    A limit times its own work; torpor's memory is the larger of what the meter saw and the kernel's own account.
    """
    seconds, durable, peak = measured["seconds"], measured["durable"], int(measured["peak"])
    verified = ""
    if name in LIMITS:
        seconds = durable = float(json.loads(told[-1])["seconds"])
    if name == TORPOR:
        peak = max(peak, int(measured["largest"]))
        results = [json.loads(line) for line in told if line.startswith('{"result"')]
        verified = str(results[-1]["result"].get("verified", "")) if results else ""
    return Sample(seconds, durable, measured["cpu"], peak, verified)


def clean_environment() -> dict[str, str]:
    """Return this process's environment without what would configure a client, proxies included."""
    return {
        name: value
        for name, value in child_environment().items()
        if not name.upper().startswith(_FOREIGN)
    }


def read_through(path: Path) -> None:
    """Read a file once, so that it is in memory."""
    buffer = bytearray(4 * MIB)
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def same_bytes(one: Path, other: Path) -> bool:
    """Say whether two files hold the same bytes."""
    with one.open("rb", buffering=0) as a, other.open("rb", buffering=0) as b:
        while True:
            piece = a.read(4 * MIB)
            if piece != b.read(4 * MIB):
                return False
            if not piece:
                return True


def _available_bytes() -> int:
    text = Path("/proc/meminfo").read_text()
    line = next(line for line in text.splitlines() if line.startswith("MemAvailable:"))
    return int(line.split()[1]) * 1024
