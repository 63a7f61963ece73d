"""What an endpoint needs on the node: the model, and beside it drafts and adapters, each with a source of its own."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import cast

from torpor.domain.fetching import FetchReason, Refusal, RemoteFile

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")


class ArtifactKind(StrEnum):
    """What lies at a source, and so what must be there."""

    MODEL = "model"
    DRAFT = "draft"
    """A checkpoint like the model, smaller: it guesses tokens that the model then checks."""
    ADAPTER = "adapter"
    """LoRA: `adapter_config.json` and one file of weights."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """One source, and the name by which users know it (the model has none)."""

    name: str
    kind: ArtifactKind
    source: str

    @property
    def label(self) -> str:
        """What stands in front of a message about it; nothing for the model."""
        return f"{self.kind.value} {self.name}: " if self.name else ""


def read_artifacts(source: str, extras: str) -> tuple[Artifact, ...] | Refusal:
    """The model, then what `TORPOR_EXTRAS` lists, in its order.

    Args:
        source: the model's.
        extras: JSON, `[{"name": "legal", "kind": "adapter" | "draft", "source": "s3://…"}]`, or nothing.
    """
    model = Artifact("", ArtifactKind.MODEL, source)
    if not extras.strip():
        return (model,)
    bad = Refusal(
        FetchReason.INTERNAL,
        "TORPOR_EXTRAS is not a JSON list of objects with name, kind (adapter or draft) and source",
    )
    try:
        parsed: object = json.loads(extras)
    except ValueError:
        return bad
    if not isinstance(parsed, list):
        return bad
    listed = [_read_extra(entry) for entry in cast("list[object]", parsed)]
    found = [artifact for artifact in listed if artifact is not None]
    return (model, *found) if len(found) == len(listed) else bad


def _read_extra(entry: object) -> Artifact | None:
    if not isinstance(entry, dict):
        return None
    fields = cast("dict[str, object]", entry)
    name, kind, source = fields.get("name"), fields.get("kind"), fields.get("source")
    if not (isinstance(name, str) and name and isinstance(source, str) and source):
        return None
    if kind not in (ArtifactKind.ADAPTER.value, ArtifactKind.DRAFT.value):
        return None
    return Artifact(name, ArtifactKind(kind), source)


def refuse_adapter(source: str, files: Sequence[RemoteFile]) -> Refusal | None:
    """Say why these files are not an adapter; None when they are."""
    keys = {file.key for file in files}
    if ADAPTER_CONFIG not in keys:
        whole = " (config.json is there: is it a whole model?)" if "config.json" in keys else ""
        return Refusal(
            FetchReason.NOT_A_CHECKPOINT,
            f"{source} is not an adapter: its {len(keys)} objects include no {ADAPTER_CONFIG}{whole}",
        )
    if not keys.intersection(ADAPTER_WEIGHTS):
        return Refusal(
            FetchReason.NOT_A_CHECKPOINT,
            f"{source} is not an adapter: beside {ADAPTER_CONFIG} there is neither "
            + " nor ".join(ADAPTER_WEIGHTS),
        )
    return None


def read_rank(source: str, text: bytes) -> int | Refusal:
    """The largest LoRA rank that an `adapter_config.json` asks for: `r`, or more in its `rank_pattern`."""
    try:
        parsed: object = json.loads(text)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        return Refusal(FetchReason.CORRUPT, f"{source}{ADAPTER_CONFIG} is not a JSON object")
    config = cast("dict[str, object]", parsed)
    kind = config.get("peft_type", "LORA")
    if kind != "LORA":
        return Refusal(
            FetchReason.NOT_A_CHECKPOINT,
            f"{source} is an adapter of type {str(kind)[:40]!r}; engines load LORA only",
        )
    pattern = config.get("rank_pattern")
    special = cast("dict[str, object]", pattern).values() if isinstance(pattern, dict) else ()
    ranks = [rank for rank in (config.get("r"), *special) if type(rank) is int and rank > 0]
    if type(config.get("r")) is not int or not ranks:
        return Refusal(
            FetchReason.CORRUPT, f"{source}{ADAPTER_CONFIG} has no rank: r must be a whole number"
        )
    return max(ranks)
