"""`spec.engine`: which server runs the model, and what is added to its command line."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from torpor.api.endpoint.model import ObjectName
from torpor.api.words import Rule, Words, by_key, in_order, not_yet, rules_of

_KEY = Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=r"^[-._A-Za-z0-9]+$")]
_OWN_ARGUMENTS = "model|served[-_]model[-_]name|host|port|uds|shutdown[-_]timeout|api[-_]key|root[-_]path|ssl[-_].*"


class EngineKind(StrEnum):
    """The servers torpor knows how to start."""

    VLLM = "vllm"
    TENSORRT_LLM = "tensorrt-llm"
    DYNAMO = "dynamo"


class KeyRef(Words):
    """One key of a Secret or ConfigMap in the endpoint's own namespace."""

    name: ObjectName
    """Name of the Secret or ConfigMap."""
    key: _KEY
    """Key in it."""
    optional: bool | None = None
    """Start without the variable when the object or key is missing. Default: false."""


class FieldRef(Words):
    """A field of the engine's own pod."""

    api_version: Literal["v1"] | None = None
    """Version of the pod's schema. Default: v1."""
    field_path: Annotated[str, StringConstraints(min_length=1, max_length=253)]
    """Path of the field, such as status.podIP."""


class EnvSource(Words):
    """Where the value of a variable comes from."""

    rules = (
        Rule(
            "[has(self.secretKeyRef), has(self.configMapKeyRef), has(self.fieldRef)]"
            ".filter(x, x).size() == 1",
            "exactly one of secretKeyRef, configMapKeyRef and fieldRef must be set",
        ),
    )

    secret_key_ref: KeyRef | None = None
    """A key of a Secret."""
    config_map_key_ref: KeyRef | None = None
    """A key of a ConfigMap."""
    field_ref: FieldRef | None = None
    """A field of the pod."""


class EnvVar(Words):
    """One environment variable of the engine."""

    rules = (
        Rule(
            "!(has(self.value) && has(self.valueFrom))",
            "only one of value and valueFrom may be set",
        ),
        Rule(
            "!self.name.startsWith('TORPOR_')",
            "names that begin with TORPOR_ are reserved",
            field=".name",
        ),
    )

    name: Annotated[
        str,
        StringConstraints(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z][-._a-zA-Z0-9]*$"),
    ]
    """Name of the variable. Names that begin with TORPOR_ are reserved."""
    value: Annotated[str, StringConstraints(max_length=32768)] | None = None
    """The value as it stands. Default: empty."""
    value_from: EnvSource | None = None
    """Where the value comes from instead."""


class Engine(Words):
    """The server that runs the model."""

    kind: Annotated[EngineKind, Field(json_schema_extra=not_yet("tensorrt-llm", "dynamo"))] = (
        EngineKind.VLLM
    )
    """Which server: vllm. (tensorrt-llm and dynamo are not supported yet.)"""
    image: (
        Annotated[str, StringConstraints(min_length=1, max_length=512, pattern=r"^[^\s]+$")] | None
    ) = None
    """Image of the engine. Its entry point must be the engine's server (vLLM: `vllm serve`). Default: what
    the operator is configured with."""
    args: Annotated[
        tuple[Annotated[str, StringConstraints(max_length=2048)], ...],
        Field(
            max_length=64,
            json_schema_extra=in_order()
            | rules_of(
                Rule(
                    "self.all(a, !a.matches('^--(" + _OWN_ARGUMENTS + ")(=|$)'))",
                    "--model, --served-model-name, --host, --port, --uds, --shutdown-timeout, --api-key,"
                    " --root-path and --ssl-* are set by torpor",
                ),
                Rule(
                    "self.all(a, !a.matches('^--max[-_]model[-_]len(=|$)'))",
                    "set model.maxLength instead of --max-model-len",
                ),
                Rule(
                    "self.all(a, !a.matches('^(--tensor[-_]parallel[-_]size|-tp)(=|$)'))",
                    "set placement.gpus instead of --tensor-parallel-size",
                ),
                Rule(
                    "self.all(a, !a.matches('^(--quantization|-q)(=|$)'))",
                    "set model.quantization instead of --quantization",
                ),
            ),
        ),
    ] = ()
    """Arguments added after torpor's own; at most 64."""
    env: Annotated[
        tuple[EnvVar, ...],
        Field(
            max_length=64,
            json_schema_extra=by_key("name"),
        ),
    ] = ()
    """Environment variables of the engine; at most 64, each name once."""


__all__ = ["Engine", "EngineKind", "EnvSource", "EnvVar", "FieldRef", "KeyRef"]
