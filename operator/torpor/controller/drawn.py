"""Something made of each endpoint, kept for as long as the endpoint is the same object.

Objects are replaced and never changed, so what was made of one that is still the same object is still true: of a
thousand endpoints those that sleep, most of them, cost nothing again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from torpor.controller.seen import Key

Json = dict[str, Any]
Made = TypeVar("Made")


class Drawn(Generic[Made]):
    """Keeps what was made of each endpoint."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._kept: dict[Key, tuple[Json, Made]] = {}

    def of(self, key: Key, obj: Json, make: Callable[[Key, Json], Made]) -> Made:
        """Return what *make* makes of the object, or what it made of this very object before."""
        kept = self._kept.get(key)
        if kept is None or kept[0] is not obj:
            kept = self._kept[key] = (obj, make(key, obj))
        return kept[1]

    def all(
        self, objects: Mapping[Key, Json], make: Callable[[Key, Json], Made]
    ) -> dict[Key, Made]:
        """Return the same for all *objects*, in their order, and forget whatever is not among them."""
        made = {key: self.of(key, obj, make) for key, obj in objects.items()}
        for key in self._kept.keys() - objects.keys():
            del self._kept[key]
        return made
