"""What a pod's GPUs were held for: GPU-milliseconds by phase of its life."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Phases:
    """GPU-milliseconds by phase. `failed_starting` is the part of `starting` whose pod never became Ready."""

    starting: int = 0
    busy: int = 0
    idle: int = 0
    terminating: int = 0
    failed_starting: int = 0

    @property
    def accrued(self) -> int:
        """The four phases together, in GPU-ms; `failed_starting` is a subset and not added."""
        return self.starting + self.busy + self.idle + self.terminating

    @property
    def named(self) -> tuple[tuple[str, int], ...]:
        """The four phases with their names, in the order of a pod's life."""
        return (
            ("starting", self.starting),
            ("busy", self.busy),
            ("idle", self.idle),
            ("terminating", self.terminating),
        )

    def __add__(self, other: Phases) -> Phases:
        return Phases(
            self.starting + other.starting,
            self.busy + other.busy,
            self.idle + other.idle,
            self.terminating + other.terminating,
            self.failed_starting + other.failed_starting,
        )

    def less(self, other: Phases) -> Phases:
        """Return what is left of each phase."""
        return self + other.times(-1)

    def times(self, factor: int) -> Phases:
        """Return each phase so many times: of so many GPUs."""
        return Phases(
            *(
                value * factor
                for value in (
                    self.starting,
                    self.busy,
                    self.idle,
                    self.terminating,
                    self.failed_starting,
                )
            )
        )


NO_PHASES = Phases()
"""Nothing was held."""
