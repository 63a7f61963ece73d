"""`docs/spec.md`: the page of every field, condition and reason, made from the same models as the CRDs."""

from collections.abc import Iterator

from torpor.api.conditions import ConditionType, Reason
from torpor.api.crd import ENDPOINT_COLUMNS, Column, endpoint_definition, gpu_class_definition
from torpor.api.errorcodes import ErrorCode
from torpor.api.words import RULES, Json

_OPENING = """\
<!-- Made by `make generate` from operator/torpor/api. Do not edit: change the models and make it again. -->
# Specification

Two kinds, group `torpor.dev`, version `v1alpha1`. `kubectl explain ie.spec --recursive` shows the same on a cluster.
Durations are written as `15s`, `2m` or `1h30m`; bytes as `500Gi` or `1.5G`; money as a quoted decimal
such as `"4.00"`. A field that is *not supported yet* is refused, never ignored.

## InferenceEndpoint

The smallest one; every other field has a default:

```yaml
apiVersion: torpor.dev/v1alpha1
kind: InferenceEndpoint
metadata:
  name: llama-8b
spec:
  model:
    source: s3://models/llama-3.1-8b/
```
"""
_COLUMNS = """\
### What kubectl get shows

STATE is the reason of the condition Awake. Money is in the currency of the GPU class; empty means unknown.
"""
_REASONS = """\
## Conditions and reasons

Reconciling and Stalled are present only while they are true. The columns *answer* and *retry* say what the gateway
tells a request that meets the reason, and whether the same request may succeed later unchanged.
"""
_CODES = """\
### What a refused request is told

The body is an OpenAI error object. When the endpoint cannot wake, `code` is the reason of its condition Ready (above);
else it is one of these:
"""
_GPU_CLASS = """\
## GPUClass

Cluster-scoped. Describes the nodes of one kind and what a GPU of theirs costs:

```yaml
apiVersion: torpor.dev/v1alpha1
kind: GPUClass
metadata:
  name: l40s
spec:
  memory: 45Gi
  gpusPerNode: 8
  nodeSelector:
    nvidia.com/gpu.product: NVIDIA-L40S
  region: us-east-1
  jurisdiction: US
  price:
    perGPUHour: "1.861"
```
"""


def generate() -> str:
    """Give the whole page as Markdown. The same models always give the same bytes."""
    endpoint, gpu_class = _schema(endpoint_definition()), _schema(gpu_class_definition())
    parts = [
        _OPENING,
        *_sections(endpoint["properties"]["spec"], "spec"),
        _rules("an InferenceEndpoint", endpoint),
        _COLUMNS + _columns(ENDPOINT_COLUMNS),
        *_sections(endpoint["properties"]["status"], "status"),
        _REASONS + _conditions(),
        *_reasons(),
        _CODES + _codes(),
        _GPU_CLASS,
        *_sections(gpu_class["properties"]["spec"], "spec"),
        _rules("a GPUClass", gpu_class),
    ]
    return "\n".join(part for part in parts if part)


def _schema(definition: Json) -> Json:
    found: Json = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


def _sections(schema: Json, path: str) -> Iterator[str]:
    """Give one section per object, the outer before the inner."""
    required = schema.get("required", [])
    rows = [
        f"| `{name}` | {_type(child)} | {_default(child, name in required)} | {_meaning(child)} |"
        for name, child in schema["properties"].items()
    ]
    head = ["| field | type | default | meaning |", "| --- | --- | --- | --- |"]
    text = f"### {path}\n\n{schema.get('description', '')}\n\n" + "\n".join(head + rows) + "\n"
    refusals = _refusals(schema)
    yield text + (f"\nRules:\n\n{refusals}" if refusals else "")
    for name, child in schema["properties"].items():
        inner = child.get("items", child)
        if "properties" in inner:
            yield from _sections(inner, f"{path}.{name}" + ("[]" if "items" in child else ""))


def _type(schema: Json) -> str:
    if schema.get("x-kubernetes-int-or-string"):
        return "number or word"
    if schema["type"] == "array":
        return f"list of {_type(schema['items'])}"
    if "enum" in schema:
        return " \\| ".join(f"`{value}`" for value in schema["enum"])
    if isinstance(schema.get("additionalProperties"), dict):
        return "map"
    if "minimum" in schema and "maximum" in schema:
        return f"number, {schema['minimum']} to {schema['maximum']}"
    words = {"integer": "number", "boolean": "true or false"}
    return words.get(schema["type"], str(schema.get("format", schema["type"])))


def _default(schema: Json, required: bool) -> str:
    if required:
        return "**required**"
    value = schema.get("default")
    return "" if value in (None, {}) else f"`{str(value).lower() if value is False else value}`"


def _meaning(schema: Json) -> str:
    return str(schema.get("description", "")).replace("|", "\\|")


def _refusals(schema: Json) -> str:
    """List the rules of an object, then those of its fields; what is not supported yet is said elsewhere."""
    found = [(None, rule["message"]) for rule in schema.get(RULES, [])]
    for name, child in schema["properties"].items():
        for part in (child, child.get("items", {})):
            if "properties" not in part:
                found += [(name, rule["message"]) for rule in part.get(RULES, [])]
    return "".join(
        f"- `{name}`: {message}\n" if name else f"- {message}\n"
        for name, message in found
        if not message.endswith("not supported yet")
    )


def _rules(subject: str, schema: Json) -> str:
    own: Json = {"properties": {}, RULES: schema[RULES]}
    return f"Rules of {subject} as a whole:\n\n{_refusals(own)}"


def _columns(columns: tuple[Column, ...]) -> str:
    rows = [
        f"| {column.name} | `{column.path}` | {'wide' if column.priority else ''} |"
        for column in columns
    ]
    return "\n".join(["", "| column | from | |", "| --- | --- | --- |", *rows]) + "\n"


def _conditions() -> str:
    rows = [f"| {kind} | {kind.meaning} |" for kind in ConditionType]
    return "\n".join(["", "| condition | meaning |", "| --- | --- |", *rows]) + "\n"


def _reasons() -> Iterator[str]:
    groups = dict.fromkeys(reason.group for reason in Reason)
    for group in groups:
        rows = [
            f"| `{reason}` | {reason.meaning} | {_answer(reason)} |"
            for reason in Reason
            if reason.group == group
        ]
        head = ["| reason | meaning | answer | retry |", "| --- | --- | --- | --- |"]
        yield f"### Reasons of {group}\n\n" + "\n".join(head + rows) + "\n"


def _codes() -> str:
    rows = [f"| {code.http_status} | `{code}` | {code.meaning} |" for code in ErrorCode]
    return "\n".join(["", "| status | code | meaning |", "| --- | --- | --- |", *rows]) + "\n"


def _answer(reason: Reason) -> str:
    if reason.http_status < 400:
        return " | "
    return f"{reason.http_status} | {'yes' if reason.retryable else 'no'}"
