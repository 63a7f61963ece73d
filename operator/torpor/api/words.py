"""The base of every model, and the marks that `torpor.api.crd` reads from fields and models.

A model may carry `rules`: CEL rules that the API server checks on that object. A field may carry marks in
`json_schema_extra`, joined by `|`: `not_yet()` (the field, or some of its values, is refused until code reads
it), `in_code()` (its default is applied by torpor and never stored), `rules_of(…)`, and for lists one
of `by_key(…)`, `unique()`, `in_order()`.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, TypedDict

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

RULES = "x-kubernetes-validations"
NOT_YET = "x-torpor-not-supported-yet"
IN_CODE = "x-torpor-default-in-code"

Json = dict[str, Any]


class RuleSchema(TypedDict, total=False):
    """A rule as the API server wants it."""

    rule: str
    message: str
    messageExpression: str
    fieldPath: str
    reason: str


@dataclass(frozen=True)
class Rule:
    """One CEL rule: `check` must be true of `self`, else the object is refused with `message`.

    With `expression` the message is built by CEL and `message` is only the fallback.
    """

    check: str
    message: str
    expression: str | None = None
    field: str | None = None
    """Path below `self` that the message is about, such as `.min`."""
    forbidden: bool = False

    def schema(self) -> RuleSchema:
        """Give the rule as an entry of `x-kubernetes-validations`."""
        entry: RuleSchema = {"rule": self.check, "message": self.message}
        if self.expression:
            entry["messageExpression"] = self.expression
        if self.field:
            entry["fieldPath"] = self.field
        if self.forbidden:
            entry["reason"] = "FieldValueForbidden"
        return entry


def rules_of(*rules: Rule) -> Json:
    """Mark a field with rules of its own (`self` is the field's value)."""
    return {RULES: [rule.schema() for rule in rules]}


def not_yet(*values: str) -> Json:
    """Mark a field, or only these of its values (`"hf://"` matches by scheme), as not supported yet."""
    return {NOT_YET: list(values) or True}


def in_code() -> Json:
    """Mark a default that torpor applies when it reads the object, and that the API server never stores."""
    return {IN_CODE: True}


def by_key(field: str) -> Json:
    """Mark a list of objects whose `field` tells them apart: duplicates are refused, appliers own entries."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [field]}


def unique() -> Json:
    """Mark a list of plain values in which none may occur twice."""
    return {"x-kubernetes-list-type": "set"}


def in_order() -> Json:
    """Mark a list that is replaced as a whole, because its order means something."""
    return {"x-kubernetes-list-type": "atomic"}


class Words(BaseModel):
    """Frozen, camelCase outside and snake_case inside; unknown fields are refused."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        use_attribute_docstrings=True,
    )

    rules: ClassVar[tuple[Rule, ...]] = ()
    """What the API server checks of one such object beyond types and bounds."""

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Add the rules, and write defaults as a user would (`2m`, not `PT2M`)."""
        schema = handler(core_schema)
        written = handler.resolve_ref_schema(schema)
        if cls.rules:
            written[RULES] = [rule.schema() for rule in cls.rules]
        defaults = cls.model_construct().to_dict()
        for name, child in written.get("properties", {}).items():
            if "default" in child:
                child["default"] = defaults.get(name)
        return schema

    def to_dict(self) -> Json:
        """Give the object as it is written to Kubernetes: camelCase, JSON values, nothing that is None."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class SeenWords(Words):
    """The same for what torpor reads back or others may extend: unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore")
