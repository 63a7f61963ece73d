"""What the reference promises is what the code says: no reason or code that nobody emits, none undocumented."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from torpor.api.conditions import Reason
from torpor.api.errorcodes import ErrorCode

TORPOR = Path(__file__).parents[2] / "operator/torpor"
TREES = [
    ast.parse(path.read_text())
    for path in sorted(TORPOR.rglob("*.py"))
    if not path.is_relative_to(TORPOR / "api")
]


def _emitted_reasons() -> Iterator[str]:
    """Give values of `Reason.X`, and strings that stand alone, as enumerations and keywords have them."""
    for tree in TREES:
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id == "Reason"
                and node.attr in Reason.__members__
            ):
                yield Reason[node.attr].value
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def _refusals() -> Iterator[tuple[int, str]]:
    """Give status and code of every call that has both as constants, side by side."""
    for tree in TREES:
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            for first, second in zip(call.args, call.args[1:], strict=False):
                if isinstance(first, ast.Constant) and isinstance(second, ast.Constant):
                    status, code = first.value, second.value
                    if type(status) is int and 400 <= status < 600 and isinstance(code, str):
                        yield status, code


EMITTED = set(_emitted_reasons())
REFUSALS = sorted(set(_refusals()))


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not Reason.UNKNOWN])
def test_a_documented_reason_is_emitted(reason: Reason) -> None:
    assert reason.value in EMITTED, f"nothing in operator/torpor outside api/ says {reason}"


@pytest.mark.parametrize(("status", "code"), REFUSALS)
def test_a_refusal_is_documented_with_its_status(status: int, code: str) -> None:
    documented = {str(one): one.http_status for one in ErrorCode}
    assert documented.get(code) == status


def test_every_documented_code_is_used() -> None:
    assert {code for _, code in REFUSALS} == set(ErrorCode)
