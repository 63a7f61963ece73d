"""The judgement: every decision torpor makes, as pure functions of plain values."""
