"""What a decision costs: CPU time of asking about many endpoints, each with habits of its own."""

from __future__ import annotations

import time
from random import Random

from torpor.domain.keepalive import Bounds, Learned, choose, keep, learn
from torpor.domain.prewake import Price

PRICE = Price(60.0, 5.0)
GAPS = 30
HOUR = 9.5


def decision_ms(endpoints: int) -> tuple[float, float]:
    """Return the CPU time, in ms, of deciding about endpoints that have just learned, and of asking again."""
    chance = Random("decisions")
    known = [_learned(chance) for _ in range(endpoints)]
    return _asking(known), _asking(known)


def _learned(chance: Random) -> Learned:
    learned, usual = Learned(), chance.uniform(0.0, 4.0)
    for _ in range(GAPS):
        gap = 10 ** chance.gauss(usual, 0.5)
        hour = chance.uniform(0.0, 24.0)
        kept = choose(learned, PRICE, hour, Bounds())
        learned = learn(learned, gap, hour, PRICE, kept)
    return learned


def _asking(known: list[Learned]) -> float:
    begun = time.process_time()
    for learned in known:
        keep(learned, PRICE, HOUR)
    return (time.process_time() - begun) * 1000
