"""What labels a PromQL expression's result has, given what the programs expose; wrong names and labels are refused.

A real parser reads the expression; here is only what follows from it: a label that a metric does not have never
matches, groups everything into one, or joins nothing, and Prometheus says nothing of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from promql_parser import (
    AggModifierType,
    AggregateExpr,
    BinaryExpr,
    Call,
    Expr,
    LabelModifierType,
    MatrixSelector,
    NumberLiteral,
    ParenExpr,
    SubqueryExpr,
    UnaryExpr,
    VectorSelector,
    parse,
)

from tests.metrics.filled import Shown

Labels = frozenset[str]
COUNTED = {"rate", "increase", "irate"}
"""Functions that mean something for counters only."""
PARTS = ("_bucket", "_sum", "_count")
STAND_INS = {"$__range": "1h", "$__rate_interval": "5m", "$__interval": "1m"}
"""What Grafana puts in for itself."""


class Wrong(Exception):
    """What an expression asks for and nobody has."""


def labels_of(text: str, shown: Mapping[str, Shown]) -> Labels | None:
    """Give the labels that the result has; None for a plain number.

    Raises:
        Wrong: it names a metric or a label that is not exposed, or takes the rate of a gauge.
        ValueError: it is no PromQL.
    """
    for variable, value in STAND_INS.items():
        text = re.sub(re.escape(variable) + r"\b", value, text)
    return _Reader(shown).read(parse(text))


class _Reader:
    def __init__(self, shown: Mapping[str, Shown]) -> None:
        self._shown = shown

    def read(self, expr: Expr) -> Labels | None:
        match expr:
            case VectorSelector():
                return self._selected(expr)
            case MatrixSelector():
                return self._selected(expr.vector_selector)
            case ParenExpr() | UnaryExpr() | SubqueryExpr():
                return self.read(expr.expr)
            case NumberLiteral():
                return None
            case Call():
                return self._called(expr)
            case AggregateExpr():
                return self._grouped(expr)
            case BinaryExpr():
                return self._joined(expr)
            case _:
                raise Wrong(f"{expr.prettify()}: nobody has taught this reader {type(expr)}")

    def _selected(self, selector: VectorSelector) -> Labels:
        name = selector.name or ""
        family = self._shown.get(name) or self._part(name)
        if family is None:
            raise Wrong(f"no program exposes {name or selector.prettify()}")
        known = family.labels | ({"le"} if name.endswith("_bucket") else set())
        for matcher in selector.matchers.matchers:
            self._has(known, {matcher.name}, name)
        return known

    def _part(self, name: str) -> Shown | None:
        """The histogram that a name is a part of."""
        whole = next((name.removesuffix(part) for part in PARTS if name.endswith(part)), "")
        found = self._shown.get(whole)
        return found if found is not None and found.kind == "histogram" else None

    def _called(self, call: Call) -> Labels | None:
        inner = [self.read(arg) for arg in call.args]
        if call.func.name in COUNTED:
            (selector,) = call.args
            assert isinstance(selector, MatrixSelector)
            name = selector.vector_selector.name or ""
            family = self._shown.get(name)
            if family is not None and family.kind != "counter":
                raise Wrong(f"{call.func.name}() of {name}, which is a {family.kind}")
        found = next((labels for labels in inner if labels is not None), None)
        return found - {"le"} if found is not None and "histogram" in call.func.name else found

    def _grouped(self, expr: AggregateExpr) -> Labels:
        inner = self.read(expr.expr)
        assert inner is not None, expr.prettify()
        if expr.modifier is None:
            return frozenset()
        named = set(expr.modifier.labels)
        self._has(inner, named, expr.prettify())
        by = expr.modifier.type == AggModifierType.By
        return frozenset(named) if by else inner - named

    def _joined(self, expr: BinaryExpr) -> Labels | None:
        left, right = self.read(expr.lhs), self.read(expr.rhs)
        if left is None or right is None:
            return left if right is None else right
        on = self._matched(expr, left, right)
        more = set((expr.modifier.group_labels if expr.modifier else None) or ())
        self._has(right, more, expr.prettify())
        grouped = expr.modifier is not None and "ManyToOne" in repr(expr.modifier.card)
        return left | more if grouped else on

    def _matched(self, expr: BinaryExpr, left: Labels, right: Labels) -> Labels:
        """Labels that both sides are matched by."""
        matching = expr.modifier.matching if expr.modifier else None
        if matching is not None and matching.type == LabelModifierType.Include:
            on = frozenset(matching.labels)
            self._has(left & right, set(on), expr.prettify())
            return on
        ignored = set(matching.labels) if matching is not None else set()
        if left - ignored != right - ignored:
            raise Wrong(f"{expr.prettify()}: {sorted(left)} never matches {sorted(right)}")
        return left - ignored

    def _has(self, known: Labels, asked: set[str], where: str) -> None:
        if asked - known:
            raise Wrong(f"{where} has no label {', '.join(sorted(asked - known))}")
