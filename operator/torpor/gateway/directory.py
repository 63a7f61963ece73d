"""Which endpoint a model name means, and whether this caller may use it."""

from __future__ import annotations

import bisect
import difflib
import hashlib
import hmac
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from torpor.domain.waitroom import Refusal
from torpor.gateway.catalogue import Entry
from torpor.metrics import Client

LONGEST_NAME = 1024
"""A longer one is not compared with those that there are, which would take time for each character."""
LONGEST_SHOWN = 64
HINTED_NAMES = 200
"""Names that an unknown one is compared with: a mistake must not cost more than a request."""
HINTED_NAMESAKES = 5
"""Endpoints that are named to a caller who may not use the first of that name."""


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


class Scope(NamedTuple):
    """Which endpoints a request may mean, by the port at which it came in."""

    only: str | None = None
    """`namespace/name` of the one, if its engine answers to the name: whoever is led there while it sleeps is led to
    that engine once it is awake."""
    locked: bool = False
    """Those that have keys: the rest is open to whoever reaches the gateway, which must be nobody from outside."""


EVERYTHING = Scope()
_ANYBODY = Client()


class Directory:
    """All endpoints by name.

    `namespace/name` always means that endpoint; it is looked up first, so that no alias elsewhere can stand in front of
    it. A bare name belongs to the oldest endpoint that has it, so that a namesake made later takes nothing from the
    first one's clients, nor lets in who has no key of the first; it is reached as `namespace/name`. Only the
    caller's key goes before age: the bare name means the oldest endpoint among whose keys it is.
    """

    def __init__(self) -> None:
        """Start empty."""
        self.entries: dict[str, Entry] = {}
        self._by_name: dict[str, list[Entry]] = {}
        """Oldest first."""
        self._keys: Counter[bytes | None] = Counter()
        """How many endpoints each key opens; None counts those that are open to everybody."""

    def put(self, entry: Entry) -> None:
        """Add or replace an endpoint."""
        before = self.entries.get(entry.key)
        if before is not None:
            self._unlist(before)
        self.entries[entry.key] = entry
        self._keys.update(_openers(entry))
        for name in _spellings(entry):
            bisect.insort(self._by_name.setdefault(name, []), entry, key=_age)

    def drop(self, key: str) -> None:
        """Remove an endpoint, if it is there."""
        if (entry := self.entries.pop(key, None)) is not None:
            self._unlist(entry)

    def resolve(
        self, model: str, digest: bytes | None, scope: Scope = EVERYTHING
    ) -> Entry | Refusal:
        """Return the endpoint within *scope* that *model* means for this caller, or why there is none."""
        named = self._named(model, scope.only)
        if len(named) == 1 and not (named[0].keys or scope.locked):
            return named[0]
        found = [entry for entry in named if entry.keys or not scope.locked]
        if not found:
            return self._unknown(model, digest, scope)
        usable = [entry for entry in found if may_use(entry, digest)]
        unlocked = [entry for entry in usable if entry.keys]
        if unlocked:
            return unlocked[0]
        if found[0] in usable:
            return found[0]
        given = "no key was given" if digest is None else "the key is not one of its keys"
        others = ", ".join(entry.key for entry in usable[:HINTED_NAMESAKES])
        hint = f"; under the same name you may use {others}" if others else ""
        return Refusal(401, "invalid_api_key", f"model {model!r} needs a key: {given}{hint}")

    def welcomes(self, digest: bytes | None, scope: Scope = EVERYTHING) -> bool:
        """Return whether there may be an endpoint for this caller, without looking at each; true while none is known.

        A dictionary of digests may be asked: whoever guesses cannot choose the digest of what they send.
        """
        known = self._keys
        open_to_all = None in known and not scope.locked
        return not known or open_to_all or (digest is not None and digest in known)

    def listing(
        self, digest: bytes | None, scope: Scope = EVERYTHING
    ) -> Iterator[tuple[str, Entry]]:
        """Give every name that the caller may send as `model`, with its endpoint; bare where that is enough."""
        for key, entry in sorted(self.entries.items()):
            within = scope.only in (None, key) and (entry.keys or not scope.locked)
            if within and may_use(entry, digest):
                for name in entry.names:
                    bare = self.resolve(name, digest, scope) is entry
                    yield (name if bare else f"{entry.namespace}/{name}"), entry

    def _named(self, model: str, only: str | None) -> list[Entry]:
        if only is not None:
            one = self.entries.get(only)
            return [one] if one is not None and model in one.names else []
        named = self.entries.get(model)
        return [named] if named is not None else self._by_name.get(model, [])

    def _unknown(self, model: str, digest: bytes | None, scope: Scope) -> Refusal:
        if len(model) > LONGEST_NAME:
            words = f"The model {model[:LONGEST_SHOWN]!r}… does not exist: no name has {len(model)} characters"
            return Refusal(404, "model_not_found", words)
        known = [name for name, _ in itertools.islice(self.listing(digest, scope), HINTED_NAMES)]
        close = difflib.get_close_matches(model, known, n=3)
        hint = f"; close to it: {', '.join(close)}" if close else ""
        return Refusal(404, "model_not_found", f"The model {model!r} does not exist{hint}")

    def _unlist(self, entry: Entry) -> None:
        for name in _spellings(entry):
            there = self._by_name[name] = [e for e in self._by_name[name] if e is not entry]
            if not there:
                del self._by_name[name]
        for opener in _openers(entry):
            self._keys[opener] -= 1
            if not self._keys[opener]:
                del self._keys[opener]


def engine_name(entry: Entry, model: str) -> str:
    """Return the name under which the engine is asked for what the caller called *model*.

    An adapter has no other name than its own. For the model itself it is one that only this endpoint's engines know:
    whoever got the address of an engine that is gone refuses it.
    """
    bare = model if model in entry.names else model.removeprefix(f"{entry.namespace}/")
    return bare if bare in entry.adapters else entry.own_name


def client_of(entry: Entry, digest: bytes | None, name: str) -> Client:
    """Return whom a request counts for that may use the endpoint and asks its engine for *name*."""
    if not (entry.keys or entry.adapters):
        return _ANYBODY
    known = zip(entry.keys, entry.key_names, strict=False)
    key = next((called for key, called in known if key == digest), "")
    return Client(key, name if name in entry.adapters else "")


def uninvited(digest: bytes | None) -> Refusal:
    """Return what a caller is told to whom no endpoint at all is open."""
    given = "none was given" if digest is None else "the one given is none of theirs"
    return Refusal(401, "invalid_api_key", f"every model here needs a key: {given}")


def _age(entry: Entry) -> tuple[int, str]:
    return entry.created, entry.uid


def _openers(entry: Entry) -> set[bytes | None]:
    return set(entry.keys) or {None}


def _spellings(entry: Entry) -> Iterable[str]:
    qualified = (f"{entry.namespace}/{name}" for name in entry.names)
    return dict.fromkeys((*entry.names, *qualified))
