"""What a status says, as lines for a reader. Values in, text out."""

from __future__ import annotations

from torpor.api.status import CostStatus, TokensStatus, Wake

COARSE = "Kubernetes stamps nodes and containers in whole seconds"
PARTS = (
    ("queue", "request → replicas written, by the gateway"),
    ("schedule", "written → the pod has a node"),
    ("weights", "init container: the weights are on the node"),
    ("image", "to the start of the engine's container"),
    ("engine", "engine started → first healthy answer"),
)
PHASES = (
    ("starting", "scheduled, not yet ready"),
    ("busy", "a request in flight"),
    ("idle", "ready, nobody asks"),
    ("terminating", "told to end, not yet gone"),
)


def wake_lines(wake: Wake) -> list[str]:
    """One line per part of a wake and one for the whole; a part nobody measured shows a dash."""
    rows = [(name, getattr(wake, name), told) for name, told in PARTS]
    rows.append(("total", wake.total, "request → first healthy answer"))
    return [f"{name:<10}{value or '–':>8} s   {told}" for name, value, told in rows]


def cost_line(cost: CostStatus) -> str:
    """The figures of this moment in one line; what is unknown is said to be."""
    currency = cost.currency or ""
    figures = {"per second": cost.per_second, "spent": cost.spent, "saved": cost.saved}
    told = [
        f"{name} {value} {currency}" if value is not None else f"{name} unknown"
        for name, value in figures.items()
    ]
    return "cost: " + ", ".join(told)


def ledger_lines(cost: CostStatus, tokens: TokensStatus) -> list[str]:
    """The bill by phase, its sum, and what a million tokens cost so far."""
    phases = cost.gpu_ms
    rows = [f"{name:<12}{getattr(phases, name):>8} GPU-ms   {told}" for name, told in PHASES]
    rows.append(f"{'together':<12}{phases.total:>8} GPU-ms   = {cost.spent} {cost.currency} spent")
    if cost.per_million_tokens is not None:
        total = tokens.prompt + tokens.completion
        rows.append(
            f"{total} tokens delivered: {cost.per_million_tokens} {cost.currency} per million,"
            " cold starts and idle time included"
        )
    return rows
