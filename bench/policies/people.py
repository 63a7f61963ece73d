"""A made-up fleet that people use: what may not be shipped of a published trace, drawn anew with similar statistics.

Alibaba's GenTD26 trace (image generation, 87 base models, 24 days, 26 823 requests) may be used for research only, so
no row of it and nothing fitted to single models is here. The figures below are round numbers chosen so that the fleet
agrees with what cost-policy §4.2 and §4.3 publish of it: the number of endpoints, days and requests, the share of the
busiest endpoint, the median answer, and how many requests follow a gap longer than 15 s, 30 s, 5 min, 10 min and 1 h.

Somebody comes, asks several times with a minute of thought between, and leaves: the gaps are bimodal. People come by
day, less at weekends, and every endpoint has its own beginning, end and hours.
"""

from __future__ import annotations

import math
from random import Random

from torpor.simulate.traffic import Trace, endpoint_of

ENDPOINTS, DAYS, REQUESTS = 87, 24, 26_823
DAY_S, HOUR_S = 86_400.0, 3600.0
BUSIEST = 0.31
"""Share of the requests that the most used endpoint gets; the others' shares fall by a power of their rank."""
FALL = 1.1
SITTING = 9.0
"""Mean requests of one sitting; their number is geometric."""
THOUGHT_S, THOUGHT_SIGMA = 50.0, 1.5
"""From one request of a sitting to the next: median, and deviation of the logarithm."""
ANSWER_S, ANSWER_SIGMA = 23.0, 0.7
NIGHT, WEEKEND = 0.12, 0.6
"""How many come in the dead of the night and on days off, as a share of those who come by day."""


def people(seed: str = "people") -> Trace:
    """Return the fleet; the same for the same seed."""
    chance = Random(seed)
    ranks = [rank**-FALL for rank in range(2, ENDPOINTS + 1)]
    rest = sum(ranks)
    shares = [BUSIEST, *((1 - BUSIEST) * part / rest for part in ranks)]
    endpoints = tuple(
        endpoint_of(f"model-{k + 1:02d}", _requests(max(3, round(share * REQUESTS)), chance))
        for k, share in enumerate(shares)
    )
    return Trace("people", DAYS * DAY_S, endpoints)


def _requests(count: int, chance: Random) -> list[tuple[float, float]]:
    begin = chance.uniform(0.0, 0.4) * DAYS * DAY_S if count < 500 else 0.0
    noon = chance.gauss(7.0, 2.0)  # UTC; their afternoon
    found = list[tuple[float, float]]()
    while len(found) < count:
        at = _arrival(begin, noon, chance)
        while len(found) < count and at < DAYS * DAY_S:
            found.append((at, chance.lognormvariate(math.log(ANSWER_S), ANSWER_SIGMA)))
            if chance.random() < 1 / SITTING:
                break
            at += chance.lognormvariate(math.log(THOUGHT_S), THOUGHT_SIGMA)
    return found


def _arrival(begin: float, noon: float, chance: Random) -> float:
    """Return when a sitting begins: drawn evenly, and thinned out by night and at weekends."""
    while True:
        at = chance.uniform(begin, DAYS * DAY_S)
        by_day = 0.5 + 0.5 * math.cos((at / HOUR_S - noon) / 24 * 2 * math.pi)
        often = NIGHT + (1 - NIGHT) * by_day
        if int(at / DAY_S) % 7 >= 5:
            often *= WEEKEND
        if chance.random() < often:
            return at
