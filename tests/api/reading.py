"""Which fields of the models does the code outside `api/` read? Found in its syntax trees.

A field counts as read where `receiver.field` stands and `receiver` can be its model: named like the field that holds
the model (`spec.queue.max_wait`), like the model itself, or a variable, loop variable or argument that got
it. An object that is written out whole (`env.to_dict()`) reads all its fields. A property of a model counts
as code when its own name is read.
"""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from torpor.api.words import NOT_YET

TORPOR = Path(__file__).parents[2] / "operator/torpor"
WHOLE = {"to_dict", "model_dump"}


@dataclass(frozen=True)
class Leaf:
    """A field without fields of its own, and what its model may be called where it is read."""

    path: str
    field: str
    names: frozenset[str]
    above: frozenset[str]
    """Names of the models above it too: written out whole, they read it as well."""


def supported_leaves(model: type[BaseModel], path: str) -> Iterator[Leaf]:
    """List what a user can write: not what is refused, nor what has one possible value."""
    yield from _leaves(model, path, frozenset({"spec", _snake(model.__name__)}), frozenset())


def _leaves(
    model: type[BaseModel], path: str, names: frozenset[str], above: frozenset[str]
) -> Iterator[Leaf]:
    above |= names
    for name, field in model.model_fields.items():
        extra = field.json_schema_extra
        refused = extra.get(NOT_YET) if isinstance(extra, dict) else None
        inner = _model_of(field.annotation)
        if refused is True or (isinstance(refused, list) and _one_remains(field, refused)):
            continue
        if inner is None:
            yield Leaf(f"{path}.{name}", name, names, above)
        else:
            called = frozenset({name, name.removesuffix("s"), _snake(inner.__name__)})
            yield from _leaves(inner, f"{path}.{name}", called, above)


def _one_remains(field: FieldInfo, refused: list[Any]) -> bool:
    kind = field.annotation
    return isinstance(kind, type) and issubclass(kind, StrEnum) and len(kind) - len(refused) == 1


def _model_of(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_model_of(one) for one in get_args(annotation))
    return next((one for one in found if one is not None), None)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


class Reads:
    """All attributes that the given trees read, by attribute, with the names of what they are read from."""

    def __init__(self) -> None:
        self.of: dict[str, set[str]] = defaultdict(set)
        self._properties: dict[str, list[tuple[str, ast.FunctionDef]]] = defaultdict(list)

    @classmethod
    def of_the_product(cls) -> "Reads":
        """Scan operator/torpor outside `api/`, then the properties of models that it reads."""
        reads = cls()
        for path in sorted(TORPOR.rglob("*.py")):
            tree = ast.parse(path.read_text())
            if path.is_relative_to(TORPOR / "api"):
                reads._remember_properties(tree)
            else:
                reads.scan(tree)
        todo = set(reads._properties)
        while ready := {name for name in todo if reads.of.get(name)}:
            todo -= ready
            for name in ready:
                for owner, function in reads._properties[name]:
                    reads.scan(function, {"self": {owner}})
        return reads

    def scan(self, tree: ast.AST, known: dict[str, set[str]] | None = None) -> None:
        """Add what this tree reads; `known` says what some of its variables are."""
        aliases: dict[str, set[str]] = defaultdict(set, known or {})
        for _ in range(2):
            for node in ast.walk(tree):
                for target, value in _bindings(node):
                    aliases[target] |= {
                        name for one in _names(value) for name in {one, *aliases[one]}
                    }
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                for name in _names(node.value):
                    self.of[node.attr] |= {name, *aliases[name]}

    def has(self, leaf: Leaf) -> bool:
        """Say whether the field is read from something that goes by one of its model's names."""
        whole = set().union(*(self.of.get(one, set()) for one in WHOLE))
        return bool(self.of.get(leaf.field, set()) & leaf.names or whole & (leaf.above - {"spec"}))

    def _remember_properties(self, tree: ast.Module) -> None:
        for owner in (node for node in tree.body if isinstance(node, ast.ClassDef)):
            for function in owner.body:
                if isinstance(function, ast.FunctionDef) and any(
                    isinstance(one, ast.Name) and one.id == "property"
                    for one in function.decorator_list
                ):
                    self._properties[function.name].append((_snake(owner.name), function))


def _bindings(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Give (variable, expression) for every way a variable gets a value here."""
    if isinstance(node, ast.Assign):
        for target in node.targets:
            yield from _pairs(target, node.value)
    elif isinstance(node, ast.AnnAssign | ast.NamedExpr) and node.value is not None:
        yield from _pairs(node.target, node.value)
    elif isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
        yield from _pairs(node.target, node.iter)
    elif isinstance(node, ast.arg) and node.annotation is not None:
        yield node.arg, node.annotation


def _pairs(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(target, ast.Name):
        yield target.id, value
    elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        for one, other in zip(target.elts, value.elts, strict=False):
            yield from _pairs(one, other)


def _names(value: ast.expr) -> Iterator[str]:
    """Give what the value of an expression may be called: its last names, models in snake case."""
    if isinstance(value, ast.Attribute):
        yield _snake(value.attr)
    elif isinstance(value, ast.Name):
        yield _snake(value.id)
    elif isinstance(value, ast.Subscript):
        yield from _names(value.value)
    elif isinstance(value, ast.IfExp):
        yield from _names(value.body)
        yield from _names(value.orelse)
    elif isinstance(value, ast.BoolOp):
        for one in value.values:
            yield from _names(one)
    elif isinstance(value, ast.BinOp):
        yield from _names(value.left)
        yield from _names(value.right)
