"""Bounds of quantities: checked when a model is read and, as a CEL rule, by the API server."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from torpor.api.quantities import format_duration, format_share, parse_duration
from torpor.api.words import RULES, Rule


class Bound(ABC):
    """An annotation: `Annotated[Duration, Between("1s", "24h")]`."""

    @abstractmethod
    def check(self, value: Any) -> Any:
        """Give the value back, or raise ValueError."""

    @abstractmethod
    def rule(self) -> Rule:
        """Say the same to the API server."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Check after parsing."""
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Add the rule to those that are there."""
        written = handler(schema)
        written[RULES] = [*written.get(RULES, []), self.rule().schema()]
        return written


@dataclass(frozen=True)
class Between(Bound):
    """A `Duration` from `low` to `high`, both included."""

    low: str
    high: str

    def check(self, value: timedelta) -> timedelta:
        """Compare with both limits."""
        if not parse_duration(self.low) <= value <= parse_duration(self.high):
            raise ValueError(f"{format_duration(value)} is not between {self.low} and {self.high}")
        return value

    def rule(self) -> Rule:
        """Compare with both limits; the message quotes what was written."""
        return Rule(
            f"duration(self) >= duration('{self.low}') && duration(self) <= duration('{self.high}')",
            f"must be between {self.low} and {self.high}",
            expression=f"self + ' is not between {self.low} and {self.high}'",
        )


@dataclass(frozen=True)
class AtMostWhole(Bound):
    """A `Share` that is a part of one thing, or all of it."""

    def check(self, value: Fraction) -> Fraction:
        """Compare with one; the pattern leaves no way to write nothing."""
        if value > 1:
            raise ValueError(f"{format_share(value)} is more than a whole")
        return value

    def rule(self) -> Rule:
        """Compare numerator and denominator; the message quotes what was written."""
        return Rule(
            "int(self.split('/')[0]) <= int(self.split('/')[1])",
            "must be at most 1/1",
            expression="self + ' is more than a whole'",
        )


@dataclass(frozen=True)
class MoreThanZero(Bound):
    """A `Money` or `Bytes` of which zero makes no sense."""

    def check(self, value: Decimal | int) -> Decimal | int:
        """Compare with zero; the patterns leave no way to write less."""
        if value <= 0:
            raise ValueError("must be greater than 0")
        return value

    def rule(self) -> Rule:
        """Look for a digit that is not zero."""
        return Rule("self.matches('[1-9]')", "must be greater than 0")
