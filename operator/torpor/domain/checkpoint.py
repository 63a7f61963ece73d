"""What the small files of a checkpoint say of it: is its configuration one, and are all its shards there?"""

import json
from typing import cast

from torpor.domain.fetching import FetchReason, Refusal


def refuse_config(source: str, text: bytes) -> Refusal | None:
    """Refuse a `config.json` that no engine can read."""
    if _parse_object(text) is not None:
        return None
    return Refusal(FetchReason.CORRUPT, f"{source}config.json is not a JSON object")


def refuse_index(source: str, index: str, text: bytes, keys: set[str]) -> Refusal | None:
    """Refuse an index (`model.safetensors.index.json`) that names shards which are not there."""
    weight_map = (_parse_object(text) or {}).get("weight_map")
    if not isinstance(weight_map, dict):
        return Refusal(FetchReason.CORRUPT, f"{source}{index} has no weight_map")
    named = {str(shard) for shard in cast("dict[str, object]", weight_map).values()}
    missing = sorted(named - keys)
    if not missing:
        return None
    return Refusal(
        FetchReason.CORRUPT,
        f"{source}{index} names {len(named)} files, of which {len(missing)} are missing, first {missing[0]!r}",
    )


def _parse_object(text: bytes) -> dict[str, object] | None:
    try:
        parsed: object = json.loads(text)
    except ValueError:
        return None
    return cast("dict[str, object]", parsed) if isinstance(parsed, dict) else None
