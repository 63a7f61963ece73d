"""From samples to a table of the clients and to figures with bars. Values in, values out.

A server that knows only MD5s costs whoever verifies 1.5 CPU seconds a GB for the MD5 alone. Against it torpor is
compared with those that verify, too; the bars for CPU time and for the share of the limits are those of a server
that has a checksum made for the purpose.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from bench.frame.figures import Figure
from bench.rivals.clients import BOTH, DISK, LIMITS, SERVER, TORPOR
from bench.rivals.rounds import Result
from bench.rivals.servers import VERSITYGW

MOST_CPU = 0.6
MOST_MB = 256.0
SHARE_OF_LIMIT = 0.9
VERIFIED = "crc64nvme"


@dataclass(frozen=True)
class Row:
    """Medians of one client against one server: MB and GB are powers of ten."""

    server: str
    client: str
    wall: float
    durable: float
    cpu: float
    peak: float
    verified: str
    failure: str = ""


def row_of(server: str, result: Result, total_bytes: int) -> Row:
    """Return the medians, or why there are none."""
    name, samples = result.client.name, result.samples
    if not result.usable:
        return Row(server, name, 0, 0, 0, 0, "", result.failure or "not measured")
    said = sorted({sample.verified or result.client.verifies for sample in samples})
    return Row(
        server,
        name,
        total_bytes / 1e6 / statistics.median(sample.seconds for sample in samples),
        total_bytes / 1e6 / statistics.median(sample.durable for sample in samples),
        statistics.median(sample.cpu for sample in samples) * 1e9 / total_bytes,
        max(sample.peak for sample in samples) / 1e6,
        ", ".join(said),
    )


def figures_of(
    server: str, rows: Sequence[Row], turns: Sequence[Sequence[float]] = ()
) -> list[Figure]:
    """Return torpor's figures against one server, with the bars they are held to.

    Args:
        server: its name.
        rows: one for each client, limits included.
        turns: torpor's rate, and what the disk took and what server and disk did at once right before and after it,
            MB/s; without any, the medians of the rounds are compared, and held to nothing.
    """
    by_name = {row.client: row for row in rows if not row.failure}
    torpor, summed = by_name[TORPOR], server == VERSITYGW
    rivals = [
        row
        for name, row in by_name.items()
        if name not in (TORPOR, *LIMITS) and (summed or not row.verified.startswith("no"))
    ]
    figures = [Figure(f"{server}: torpor, to fsync", torpor.durable, "MB/s")]
    if rivals:
        which = "rival" if summed else "rival that verifies"
        fast = max(rivals, key=lambda row: row.durable)
        lean = min(rivals, key=lambda row: row.cpu)
        rate, cpu = torpor.durable / fast.durable, torpor.cpu / lean.cpu
        figures += [
            Figure(f"  over the fastest {which} ({fast.client})", rate, "times", 1, at_least=True),
            Figure(f"  CPU over the leanest {which} ({lean.client})", cpu, "times", 1),
        ]
    share_bar = SHARE_OF_LIMIT if turns else None
    turns = turns or [(torpor.durable, by_name[DISK].durable, by_name[BOTH].durable)]
    server_alone = by_name[SERVER].durable
    alone = statistics.median(mine / min(disk, server_alone) for mine, disk, _ in turns)
    at_once = statistics.median(mine / both for mine, _, both in turns)
    figures += [
        Figure("  of server and disk at once", at_once, "", share_bar, at_least=True),
        Figure("  of the slower of them alone", alone, "", share_bar, at_least=True),
        Figure("  CPU", torpor.cpu, "s/GB", MOST_CPU if summed else None),
    ]
    if summed:
        proven = float(torpor.verified == VERIFIED)
        figures.append(Figure(f"  verified: {VERIFIED}, every round", proven, "", 1, exactly=True))
    return [*figures, Figure("  memory, peak", torpor.peak, "MB", MOST_MB)]


def table_of(rows: Sequence[Row]) -> str:
    """Return the clients side by side, one line each."""
    width = max(len(row.client) for row in rows)
    lines = []
    for server in dict.fromkeys(row.server for row in rows):
        head = f"{server:<{width}}  {'wall':>6} {'durable':>8} {'CPU':>7} {'peak':>6}"
        lines += [
            f"{head}  verified",
            f"{'':<{width}}  {'MB/s':>6} {'MB/s':>8} {'s/GB':>7} {'MB':>6}",
        ]
        lines += [_line(row, width) for row in rows if row.server == server]
        lines.append("")
    return "\n".join(lines)


def facts_of(rows: Sequence[Row]) -> list[dict[str, object]]:
    """Return the rows for the JSON line."""
    return [
        {name: _rounded(value) for name, value in row}
        for row in (asdict(row).items() for row in rows)
    ]


def _rounded(value: object) -> object:
    return round(value, 3) if isinstance(value, float) else value


def _line(row: Row, width: int) -> str:
    if row.failure:
        return f"{row.client:<{width}}  {row.failure.splitlines()[0]}"
    figures = f"{row.wall:>6.0f} {row.durable:>8.0f} {row.cpu:>7.2f} {row.peak:>6.0f}"
    return f"{row.client:<{width}}  {figures}  {row.verified}"
