"""Which endpoint a model name means, and whether this caller may use it."""

from __future__ import annotations

import difflib
import hashlib
import hmac
import itertools
from collections.abc import Iterable, Iterator

from torpor.domain.waitroom import Refusal
from torpor.gateway.catalogue import Entry

HINTED_NAMES = 200
"""Names that an unknown one is compared with: a mistake must not cost more than a request."""


def read_digest(authorization: str | None) -> bytes | None:
    """Return the SHA-256 of the bearer token in an Authorization header, or None if there is none."""
    if not authorization:
        return None
    scheme, _, token = authorization.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        return None
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def may_use(entry: Entry, digest: bytes | None) -> bool:
    """Return whether the caller may use the endpoint; takes the same time whichever key fits."""
    if not entry.keys:
        return True
    if digest is None:
        return False
    fits = [hmac.compare_digest(key, digest) for key in entry.keys]
    return any(fits)


class Directory:
    """All endpoints by name.

    `namespace/name` always means that endpoint; it is looked up first, so that no alias elsewhere can stand in front of
    it. A bare name means the one endpoint that the caller may use under it; where several are, one that has the
    caller's key comes before those that are open to everybody.
    """

    def __init__(self) -> None:
        """Start empty."""
        self.entries: dict[str, Entry] = {}
        self._by_name: dict[str, list[str]] = {}

    def put(self, entry: Entry) -> None:
        """Add or replace an endpoint."""
        before = self.entries.get(entry.key)
        self.entries[entry.key] = entry
        if before is not None and before.names == entry.names:
            return
        if before is not None:
            self._unlist(before)
        for name in _spellings(entry):
            self._by_name.setdefault(name, []).append(entry.key)

    def drop(self, key: str) -> None:
        """Remove an endpoint, if it is there."""
        if (entry := self.entries.pop(key, None)) is not None:
            self._unlist(entry)

    def resolve(self, model: str, digest: bytes | None) -> Entry | Refusal:
        """Return the endpoint that *model* means for this caller, or why there is none."""
        named = self.entries.get(model)
        found = [named] if named is not None else self._named(model)
        if not found:
            return self._unknown(model, digest)
        usable = [entry for entry in found if may_use(entry, digest)]
        if not usable:
            given = "the key is not one of its keys" if digest else "no key was given"
            return Refusal(401, "invalid_api_key", f"model {model!r} needs a key: {given}")
        best = [entry for entry in usable if entry.keys] or usable
        if len(best) == 1:
            return best[0]
        choices = ", ".join(sorted(entry.key for entry in best))
        message = f"model {model!r} is served by {len(best)} endpoints; name one of {choices}"
        return Refusal(400, "model_ambiguous", message)

    def listing(self, digest: bytes | None) -> Iterator[tuple[str, Entry]]:
        """Give every name that the caller may send as `model`, with its endpoint; bare where that is enough."""
        for _, entry in sorted(self.entries.items()):
            if may_use(entry, digest):
                for name in entry.names:
                    bare = self.resolve(name, digest) is entry
                    yield (name if bare else f"{entry.namespace}/{name}"), entry

    def _named(self, model: str) -> list[Entry]:
        return [self.entries[key] for key in self._by_name.get(model, ())]

    def _unknown(self, model: str, digest: bytes | None) -> Refusal:
        known = [name for name, _ in itertools.islice(self.listing(digest), HINTED_NAMES)]
        close = difflib.get_close_matches(model, known, n=3)
        hint = f"; close to it: {', '.join(close)}" if close else ""
        return Refusal(404, "model_not_found", f"The model {model!r} does not exist{hint}")

    def _unlist(self, entry: Entry) -> None:
        for name in _spellings(entry):
            keys = self._by_name[name]
            keys.remove(entry.key)
            if not keys:
                del self._by_name[name]


def engine_name(entry: Entry, model: str) -> str:
    """Return the name under which the engine itself knows what the caller called *model*."""
    if model in entry.names:
        return model
    bare = model.removeprefix(f"{entry.namespace}/")
    return bare if bare in entry.names else entry.names[0]


def _spellings(entry: Entry) -> Iterable[str]:
    yield from entry.names
    for name in entry.names:
        yield f"{entry.namespace}/{name}"
