"""Is it cheaper here or by the token elsewhere? The endpoint's own traffic, at the price of an offer.

Compared is what both cost for the same tokens of the same day, idling, cold starts and all. Beside it stands the
traffic from which on the answer needs no scale-to-zero any more: there the offer costs as much as a GPU that never
sleeps, so whatever sleeps is cheaper already.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from torpor.api.conditions import ConditionStatus, Reason
from torpor.domain import money
from torpor.domain.money import Exact
from torpor.domain.windows import DAY_HOURS, HOUR_MS, Reading, Windows, day_before

MARGIN_PERCENT = 10
"""The other side must be cheaper by so much before the verdict turns, so that it does not swing about a draw."""

_TOKENS = 1_000_000


@dataclass(frozen=True, slots=True)
class Offer:
    """A price per token; micro-units per million tokens."""

    name: str
    input_micro: int
    output_micro: int

    def cost(self, used: Reading) -> int:
        """Return what those tokens cost there, in micro-units × ms per hour."""
        micros = used.prompt * self.input_micro + used.completion * self.output_micro
        return micros * HOUR_MS // _TOKENS


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both sides of the last day. Money is in micro-units × ms per hour; None is unknown."""

    offer: Offer
    since_ms: int
    here: Exact | None
    there: int
    ever_there: int
    """What all tokens since the endpoint was made would have cost there."""
    tokens: int
    break_even: int | None
    """Tokens a day, mixed as on this day, for which the offer costs as much as replicas that never sleep."""
    currency: str = "USD"

    def verdict(self, was: ConditionStatus | None) -> tuple[ConditionStatus, Reason, str] | None:
        """Return status, reason and message of the condition `CheaperThanOffer`; None leaves it as it is.

        Args:
            was: Its status so far. It turns only for a difference of `MARGIN_PERCENT`.
        """
        if self.here is None:
            words = f"what the last day cost is not known, so {self.offer.name} cannot be compared"
            return "Unknown", Reason.PRICE_UNKNOWN, words
        if not self.here and not self.there:
            return None if was else ("Unknown", Reason.NOTHING_TO_COMPARE, self._nothing())
        if self._is_here_cheaper(self.here, was):
            return "True", Reason.CHEAPER_HERE, self._sentence(self.here)
        return "False", Reason.OFFER_CHEAPER, self._sentence(self.here)

    def _is_here_cheaper(self, here: Exact, was: ConditionStatus | None) -> bool:
        if was == "True":
            return here * 100 <= self.there * (100 + MARGIN_PERCENT)
        if was == "False":
            return here * (100 + MARGIN_PERCENT) < self.there * 100
        return here <= self.there

    def _sentence(self, here: Exact) -> str:
        since = datetime.fromtimestamp(self.since_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%MZ")
        said = (
            f"{self.tokens} tokens since {since} cost {self._money(here)} here, "
            f"{self._money(self.there)} at {self.offer.name}"
        )
        if self.break_even is None:
            return said
        return (
            f"{said}; from {self.break_even} tokens a day on it is cheaper here without any sleep"
        )

    def _nothing(self) -> str:
        return f"nothing was asked in the last day that {self.offer.name} could have answered"

    def _money(self, micro_ms: Exact) -> str:
        return f"{money.rounded(money.known_amount(micro_ms), 4)} {self.currency}"


def compare(
    offer: Offer,
    windows: Windows,
    reading: Reading,
    always_on_micro: Exact | None,
    currency: str,
    now_ms: int,
) -> Comparison:
    """Return both sides.

    Args:
        offer: The price per token.
        windows: Marks of the meter.
        reading: The meter now.
        always_on_micro: Micro-units per hour of the replicas that would run if none slept, at the first choice's
            price; None if that is unknown.
        currency: ISO 4217 code of all of this money.
        now_ms: Epoch ms.
    """
    day = day_before(windows, now_ms)
    used = reading.since(day.reading)
    there = offer.cost(used)
    return Comparison(
        offer,
        day.at_ms,
        used.spent,
        there,
        offer.cost(reading),
        used.tokens,
        _break_even(there, used.tokens, always_on_micro),
        currency,
    )


def _break_even(there: int, tokens: int, always_on_micro: Exact | None) -> int | None:
    if always_on_micro is None or not there:
        return None
    a_day = always_on_micro * DAY_HOURS * HOUR_MS
    return -(-a_day * tokens // there)
