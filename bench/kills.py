"""SIGKILL while weights are downloaded, at random instants: no copy is ever wrong, and what was on disk is kept."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from bench.frame.ending import end_with
from bench.frame.figures import Figure, report
from bench.frame.killing import Tally, Victim
from bench.frame.relay import Relay
from bench.rivals.checkpoint import upload
from bench.rivals.servers import VERSITYGW, serve
from dev.cluster.objectstore import draw_account
from dev.cluster.places import places
from dev.cluster.programs import ensure_program
from dev.cluster.progress import say

MIB = 1 << 20
SHARDS, SHARD_BYTES, PART_BYTES = 2, 32 * MIB, 256 * 1024


def measure(given: argparse.Namespace) -> int:
    """Kill as often as was asked, print the figures; returns the exit code."""
    place = places()
    program = ensure_program(place, VERSITYGW)
    base = place.cache / "bench"
    base.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="kills-", dir=base) as folder:
        work, account = Path(folder), draw_account("BENCH")
        with serve(VERSITYGW, program, work, account) as target:
            sizes = upload(target, SHARDS, SHARD_BYTES)
            with Relay(target.address[1]) as relay:
                environment = {
                    **target.environment(),
                    "PYTHONPATH": str(place.repo / "operator"),
                    "TORPOR_SOURCE": target.source,
                    "TORPOR_S3_ENDPOINT": f"http://127.0.0.1:{relay.port}",
                    "TORPOR_S3_REGION": target.region,
                    "TORPOR_S3_PATH_STYLE": "true",
                    "TORPOR_CACHE_DIR": str(work / "cache"),
                    "TORPOR_TERMINATION_LOG": str(work / "termination-log"),
                    "TORPOR_PREWARM_PART_BYTES": str(PART_BYTES),
                }
                prefix = work / "data" / target.bucket / target.prefix
                originals = {key: prefix / key for key in sizes}
                tally = Victim(relay, environment, originals, given.seed).run(given.kills)
                figures = figures_of(tally, given.kills, relay, sum(sizes.values()))
    for fault in tally.faults:
        say(f"BROKEN: {fault}")
    return report("kills", figures, check=given.check, seed=given.seed)


def figures_of(tally: Tally, kills: int, relay: Relay, copy_bytes: int) -> list[Figure]:
    """What was seen, and what it must be."""
    needed = tally.copies * copy_bytes
    return [
        Figure("kills", tally.kills, "", kills, exactly=True),
        Figure("complete copies", tally.copies, ""),
        Figure("broken copies", tally.broken, "", 0, exactly=True),
        Figure("promised by journals", tally.promised / 1e6, "MB"),
        Figure("resumed of that", tally.share, "", 0.9, at_least=True),
        Figure("bytes moved over bytes of the copies", relay.bytes / needed, "×"),
        Figure("requests for each copy", relay.requests / tally.copies, ""),
    ]


def parse() -> argparse.Namespace:
    """Read the command line."""
    options = argparse.ArgumentParser(prog="python -m bench.kills", description=__doc__)
    options.add_argument("--kills", type=int, default=100, help="how many")
    options.add_argument("--seed", type=int, default=4, help="of the instants")
    options.add_argument("--check", action="store_true", help="exit 1 if a bar is missed")
    return options.parse_args()


if __name__ == "__main__":
    end_with(lambda: measure(parse()))
