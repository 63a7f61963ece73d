"""Merge a user's pod template fragment over torpor's own, last and winning, as kubectl would.

Maps merge key by key. Lists whose items all carry a `name` (containers, volumes, env, ports) merge by name, mounts by
`mountPath`; tolerations are added; every other list is replaced. A value of null removes the key.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

_KEYS = {"volumeMounts": "mountPath"}
_ADDED = frozenset({"tolerations", "imagePullSecrets"})


def merge(base: Json, patch: Json) -> Json:
    """Return *base* with *patch* laid over it; neither is changed."""
    merged = dict(base)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge_value(key, merged.get(key), value)
    return merged


def _merge_value(key: str, old: Any, new: Any) -> Any:
    if isinstance(new, dict):
        return merge(old if isinstance(old, dict) else {}, new)
    if not isinstance(old, list) or not isinstance(new, list):
        return new
    if key in _ADDED:
        return [*old, *(item for item in new if item not in old)]
    name = _KEYS.get(key, "name")
    if all(isinstance(item, dict) and name in item for item in [*old, *new]):
        return _merge_named(name, old, new)
    return new


def _merge_named(name: str, old: list[Json], new: list[Json]) -> list[Json]:
    by_name = {item[name]: item for item in new}
    kept = [merge(item, by_name.pop(item[name], {})) for item in old]
    return [*kept, *(item for item in new if item[name] in by_name)]
