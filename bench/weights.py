"""Weights from a signed S3 server to the disk, verified: torpor against the downloaders that others use.

Against each of two servers, all clients and the limits (what the server gives, what the disk takes, what both do at
once) take turns; the figures are medians. `durable` is the rate to the client's exit and the fsync of every file. The
share of the limits is measured apart: torpor's turns between turns of the disk alone and of both at once.
"""

from __future__ import annotations

import argparse
import fcntl
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from bench.frame.ending import end_with
from bench.frame.figures import Figure, report
from bench.rivals.checkpoint import connect, upload
from bench.rivals.clients import BOTH, DISK, LIMITS, TORPOR, Client, all_clients
from bench.rivals.installed import RIVALS, install_rivals
from bench.rivals.outcome import Row, facts_of, figures_of, row_of, table_of
from bench.rivals.rounds import SPARE_BYTES, Track
from bench.rivals.servers import RCLONE, SERVERS, VERSITYGW, serve
from dev.cluster import HarnessError
from dev.cluster.objectstore import draw_account
from dev.cluster.places import Places, places
from dev.cluster.programs import ensure_program
from dev.cluster.progress import say, step

SHARDS = 4
GIB = 1 << 30


def short_name(client: Client) -> str:
    """What `--only` calls a client: the first word, whatever its options."""
    return client.name.split()[0].lower()


@contextmanager
def open_work(place: Places, need_bytes: int) -> Iterator[Path]:
    """A folder on the cache's disk for one run at a time, removed afterwards and before.

    Raises:
        HarnessError: another run has it, or the disk is too full.
    """
    base = place.cache / "bench"
    work = base / "weights"
    base.mkdir(parents=True, exist_ok=True)
    with (base / "weights.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HarnessError(f"another run of this benchmark uses {work}; wait for it") from None
        shutil.rmtree(work, ignore_errors=True)
        free = shutil.disk_usage(base).free
        if free < need_bytes:
            raise HarnessError(
                f"{base} has {free / GIB:.1f} GiB free, this run needs {need_bytes / GIB:.1f}"
            )
        work.mkdir()
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)


def measure(given: argparse.Namespace) -> int:
    """Set up, run all rounds against each server, print the table and the figures."""
    place = places()
    only: set[str] = set(given.only)
    wanted = tuple(name for name in RIVALS if not only or name in only)
    venvs = install_rivals(
        place.cache / "bench" / "rivals",
        wanted if RCLONE in wanted or RCLONE not in given.servers else (*wanted, RCLONE),
    )
    clients = [
        client
        for client in all_clients(venvs)
        if not only or client.name in LIMITS or short_name(client) in only | {TORPOR}
    ]
    programs = {VERSITYGW: ensure_program(place, VERSITYGW)}
    if RCLONE in venvs:
        programs[RCLONE] = venvs[RCLONE] / "bin" / "rclone"
    shard_bytes = int(given.gib * GIB) // 4096 * 4096
    rows: list[Row] = []
    figures: list[Figure] = []
    turns: list[tuple[float, ...]] = []
    with open_work(place, 2 * SHARDS * shard_bytes + SPARE_BYTES) as work:
        account = draw_account("BENCH")
        with (
            serve(VERSITYGW, programs[VERSITYGW], work, account) as target,
            step(f"upload {SHARDS} × {given.gib:g} GiB with their checksums"),
        ):
            sizes = upload(target, SHARDS, shard_bytes)
        for server in given.servers:
            if server not in programs:
                say(f"{server}: cannot be had, so nothing is measured against it")
                continue
            with serve(server, programs[server], work, account) as target:
                connect(target).list_objects_v2(Bucket=target.bucket, Prefix=target.prefix)
                track = Track(place.repo, work, target, sizes)
                results = track.run_all(clients, given.rounds)
                beside: list[tuple[float, ...]] = []
                if server == VERSITYGW:
                    torpor, *limits = pick(clients, TORPOR, DISK, BOTH)
                    beside = track.run_chain(torpor, limits, given.turns)
            mine = [row_of(server, result, track.total_bytes) for result in results]
            rows += mine + missing_rows(server, wanted, venvs)
            figures += figures_of(server, mine, beside)
            turns += beside
    return conclude(given, rows, figures, turns)


def pick(clients: list[Client], *names: str) -> list[Client]:
    """Return the clients of these names, in their order."""
    by_name = {client.name: client for client in clients}
    return [by_name[name] for name in names]


def missing_rows(server: str, wanted: tuple[str, ...], venvs: dict[str, Path]) -> list[Row]:
    """One row for each rival that the package index did not give."""
    reason = "not to be had from the package index"
    return [Row(server, name, 0, 0, 0, 0, "", reason) for name in wanted if name not in venvs]


def conclude(
    given: argparse.Namespace,
    rows: list[Row],
    figures: list[Figure],
    turns: list[tuple[float, ...]],
) -> int:
    """Print everything; returns the exit code.

    Raises:
        HarnessError: nothing was measured, or a check has no rival to compare with.
    """
    if not rows:
        raise HarnessError("nothing was measured: none of the servers can be had")
    print(table_of(rows))
    measured = {row.client for row in rows if not row.failure} - {TORPOR, *LIMITS}
    if given.check and not measured and not given.only:
        raise HarnessError("no rival could be measured, so the check says nothing")
    facts = {"rounds": given.rounds, "gib": given.gib, "clients": facts_of(rows)}
    facts["turns"] = [[round(rate) for rate in turn] for turn in turns]
    return report("weights", figures, check=given.check, **facts)


def _words(text: str) -> list[str]:
    return [word.strip().lower() for word in text.split(",") if word.strip()]


def _servers(text: str) -> list[str]:
    words = _words(text)
    unknown = [word for word in words if word not in SERVERS]
    if unknown or not words:
        raise argparse.ArgumentTypeError(f"{text!r}: there are {', '.join(SERVERS)}")
    return words


def _only(text: str) -> list[str]:
    words = _words(text)
    unknown = [word for word in words if word not in (TORPOR, *RIVALS)]
    if unknown or not words:
        raise argparse.ArgumentTypeError(f"{text!r}: there are {', '.join((TORPOR, *RIVALS))}")
    return words


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def parse() -> argparse.Namespace:
    """Read the command line."""
    options = argparse.ArgumentParser(prog="python -m bench.weights", description=__doc__)
    options.add_argument("--rounds", type=int, default=3, help="counted rounds, after one warm-up")
    options.add_argument(
        "--turns",
        type=int,
        default=12,
        help="turns of torpor between two of each limit of the disk",
    )
    options.add_argument("--gib", type=float, default=1.0, help="size of each of the 4 shards")
    options.add_argument("--only", type=_only, default=[], help="torpor and these rivals, by comma")
    options.add_argument("--servers", type=_servers, default=list(SERVERS), help="by comma")
    options.add_argument("--check", action="store_true", help="exit 1 if a bar is missed")
    return options.parse_args()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stop)
    end_with(lambda: measure(parse()))
