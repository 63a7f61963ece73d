"""The CustomResourceDefinitions, made from the models: `torpor crd` writes what `generate` gives."""

from dataclasses import dataclass

import yaml

from torpor.api.endpoint import InferenceEndpoint
from torpor.api.gpuclass import GPUClass
from torpor.api.meta import GROUP, VERSION
from torpor.api.schema import prose, structural
from torpor.api.words import RULES, Json, SeenWords

_HEADER = """\
# Made by `torpor crd` from operator/torpor/api. Do not edit: change the models and make it again.
"""


@dataclass(frozen=True)
class Column:
    """A column of `kubectl get`; those of priority 1 are shown by `-o wide` only."""

    name: str
    path: str
    type: str = "string"
    priority: int = 0

    def schema(self) -> Json:
        """Give the column as the API server wants it."""
        wide: Json = {"priority": self.priority} if self.priority else {}
        return {"name": self.name, "type": self.type, "jsonPath": self.path, **wide}


AGE = Column("AGE", ".metadata.creationTimestamp", "date")
ENDPOINT_COLUMNS = (
    Column("READY", '.status.conditions[?(@.type=="Ready")].status'),
    Column("STATE", '.status.conditions[?(@.type=="Awake")].reason'),
    Column("REPLICAS", ".status.display.replicas"),
    Column("GPU", ".status.display.gpu"),
    Column("COST/S", ".status.display.costPerSecond"),
    Column("COST/H", ".status.cost.perHour"),
    Column("SPENT", ".status.cost.spent"),
    Column("SAVED", ".status.cost.saved"),
    AGE,
    Column("$/MTOK", ".status.cost.perMillionTokens", priority=1),
    Column("MODEL", ".status.display.model", priority=1),
    Column("URL", ".status.url", priority=1),
    Column("MESSAGE", '.status.conditions[?(@.type=="Ready")].message', priority=1),
)
GPU_CLASS_COLUMNS = (
    Column("RESOURCE", ".spec.resourceName"),
    Column("MEMORY", ".spec.memory"),
    Column("GPUS", ".spec.gpusPerNode", "integer"),
    Column("REGION", ".spec.region"),
    Column("CAPACITY", ".spec.capacityType"),
    Column("PRICE/H", ".spec.price.perGPUHour"),
    Column("CURRENCY", ".spec.price.currency"),
    AGE,
    Column("FRACTION", ".spec.fraction", priority=1),
    Column("EGRESS/GIB", ".spec.price.egressPerGiB", priority=1),
)


def generate() -> dict[str, str]:
    """Give the CRDs as file name → YAML text. The same models always give the same bytes."""
    return {
        f"{GROUP}_{definition['spec']['names']['plural']}.yaml": _HEADER + _yaml(definition)
        for definition in (endpoint_definition(), gpu_class_definition())
    }


def endpoint_definition() -> Json:
    """Give the CRD of InferenceEndpoint."""
    version = _version(InferenceEndpoint, ENDPOINT_COLUMNS) | {
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.scaling.minReplicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        }
    }
    return _definition("InferenceEndpoint", "inferenceendpoints", "Namespaced", version, ("ie",))


def gpu_class_definition() -> Json:
    """Give the CRD of GPUClass."""
    version: Json = _version(GPUClass, GPU_CLASS_COLUMNS) | {"subresources": {}}
    return _definition("GPUClass", "gpuclasses", "Cluster", version, ())


def _definition(
    kind: str, plural: str, scope: str, version: Json, short_names: tuple[str, ...]
) -> Json:
    names = {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()}
    shorts = {"shortNames": list(short_names)} if short_names else {}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": names | shorts | {"categories": ["torpor", "ai"]},
            "scope": scope,
            "versions": [version],
        },
    }


def _version(kind: type[SeenWords], columns: tuple[Column, ...]) -> Json:
    properties: Json = {
        "apiVersion": {"type": "string", "description": f"{GROUP}/{VERSION}"},
        "kind": {"type": "string", "description": kind.__name__},
        "metadata": {"type": "object"},
    }
    for name in ("spec", "status"):
        field = kind.model_fields.get(name)
        if field is not None and isinstance(field.annotation, type):
            schema = structural(field.annotation, root=name, defaults=name == "spec")
            properties[name] = schema | {"description": prose(field.description or "")}
    root: Json = {
        "type": "object",
        "description": prose(kind.__doc__ or ""),
        "required": ["spec"],
        "properties": properties,
        RULES: [rule.schema() for rule in kind.rules],
    }
    return {
        "name": VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": [column.schema() for column in columns],
        "schema": {"openAPIV3Schema": root},
    }


class _Dumper(yaml.SafeDumper):
    """No anchors: every part is written where it stands."""

    def ignore_aliases(self, data: object) -> bool:
        """Never write an alias."""
        return True


def _yaml(definition: Json) -> str:
    return yaml.dump(
        definition, Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True, indent=2
    )


__all__ = ["Column", "endpoint_definition", "generate", "gpu_class_definition"]
