"""Turn a model into the structural schema that a CustomResourceDefinition needs.

pydantic gives JSON Schema; Kubernetes takes a narrower dialect. On the way:

1. references are written out, `X or null` becomes X, titles and nulls go;
2. a default is kept only where the API server should store it: not where the model says `in_code()`, not where it is
   empty; an object of which some part has a default gets `default: {}`, or the part's would never apply;
3. what the model marks `not_yet()` becomes a rule that refuses it by its full path.
"""

import inspect
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from torpor.api.words import IN_CODE, NOT_YET, RULES, Json, Rule

_FIRST = ("type", "description", "default", "enum", "format", "pattern", "required", "properties")
_DROPPED = {"title", "$defs", NOT_YET, IN_CODE, "additionalProperties"}


def structural(model: type[BaseModel], *, root: str, defaults: bool = True) -> Json:
    """Give the schema of `model`; `root` begins the paths in messages, such as `spec`.

    Without `defaults` none is kept: the API server must not fill in a status.
    """
    schema = model.model_json_schema(by_alias=True, mode="validation")
    return _Writer(schema.get("$defs", {}), defaults).write(schema, root)


def leaves(model: type[BaseModel], *, root: str) -> list[tuple[str, Json]]:
    """List every field that has no fields of its own, by path, with its JSON Schema and marks.

    A field that is refused as a whole is listed once and not entered.
    """
    schema = model.model_json_schema(by_alias=True, mode="validation")
    writer = _Writer(schema.get("$defs", {}), defaults=True)
    return list(writer.leaves(schema, root))


class _Writer:
    """Holds the definitions that references point to."""

    def __init__(self, definitions: Mapping[str, Json], defaults: bool) -> None:
        self._definitions = definitions
        self._defaults = defaults

    def write(self, node: Json, path: str) -> Json:
        """Write one node; `path` is where it stands in the object."""
        node = self._plain(node)
        out: Json = {key: node[key] for key in _in_order(node) if key not in _DROPPED}
        if "description" in out:
            refused = " Not supported yet." if node.get(NOT_YET) is True else ""
            out["description"] = prose(out["description"]) + refused
        if not self._keeps_default(node):
            out.pop("default", None)
        rules = [*out.pop(RULES, []), *_refused_values(node, path)]
        if "items" in out:
            out["items"] = self.write(out["items"], f"{path}[]")
        if isinstance(node.get("additionalProperties"), dict):
            out["additionalProperties"] = self.write(node["additionalProperties"], f"{path}.*")
        if "properties" in out:
            rules += self._refused_fields(node, path)
            out["properties"] = self._properties(node, path)
        if rules:
            out[RULES] = rules
        return out

    def leaves(self, node: Json, path: str) -> Any:
        """Walk as `write` does and give what has no properties of its own."""
        node = self._plain(node)
        if "properties" in node and node.get(NOT_YET) is not True:
            for name, child in node["properties"].items():
                yield from self.leaves(child, f"{path}.{name}")
        elif node.get("type") == "array" and "properties" in self._plain(node["items"]):
            marked = {NOT_YET: node[NOT_YET]} if NOT_YET in node else {}
            yield from self.leaves(node["items"] | marked, f"{path}[]")
        else:
            yield path, node

    def _plain(self, node: Json) -> Json:
        """Resolve references and nulls until neither is left; what stands beside them wins."""
        while True:
            beside = {key: value for key, value in node.items() if key not in ("$ref", "anyOf")}
            if "$ref" in node:
                target = self._definitions[node["$ref"].removeprefix("#/$defs/")]
            elif "anyOf" in node:
                (target,) = (one for one in node["anyOf"] if one.get("type") != "null")
            else:
                break
            if RULES in target and RULES in beside:
                beside[RULES] = [*target[RULES], *beside[RULES]]
            node = target | beside
        if "const" in node:
            node = {key: value for key, value in node.items() if key != "const"} | {
                "enum": [node["const"]]
            }
        return node

    def _properties(self, node: Json, path: str) -> Json:
        written: Json = {}
        required = node.get("required", [])
        for name, child in node["properties"].items():
            entry = self.write(child, f"{path}.{name}")
            optional = "anyOf" in child or name in required or child.get(IN_CODE)
            if self._defaults and not optional and NOT_YET not in child and _fills(entry):
                entry["default"] = {}
            written[name] = entry
        return written

    def _keeps_default(self, node: Json) -> bool:
        value = node.get("default")
        return self._defaults and value not in (None, [], {}) and not node.get(IN_CODE)

    def _refused_fields(self, node: Json, path: str) -> list[Any]:
        return [
            Rule(
                f"!has(self.{name})",
                f"{path}.{name} is not supported yet",
                field=f".{name}",
                forbidden=True,
            ).schema()
            for name, child in node["properties"].items()
            if self._plain(child).get(NOT_YET) is True
        ]


def prose(docstring: str) -> str:
    """Join the lines of each paragraph, as documentation in a terminal or on a page wants it."""
    paragraphs = inspect.cleandoc(docstring).split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _in_order(node: Json) -> list[str]:
    rest = sorted(key for key in node if key not in _FIRST)
    return [key for key in _FIRST if key in node] + rest


def _fills(entry: Json) -> bool:
    """Say whether the API server has something to fill in below this object."""
    return "properties" in entry and any("default" in one for one in entry["properties"].values())


def _refused_values(node: Json, path: str) -> list[Any]:
    marked: Any = node.get(NOT_YET)
    values: list[str] = [] if marked in (None, True) else marked
    return [
        Rule(
            f"!self.startsWith('{value}')" if value.endswith("://") else f"self != '{value}'",
            f"{path}: {value} is not supported yet",
            forbidden=True,
        ).schema()
        for value in values
    ]
