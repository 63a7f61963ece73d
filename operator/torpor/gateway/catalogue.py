"""What the gateway keeps of an InferenceEndpoint: one small `Entry`, made from the object as it was read.

The spec is parsed once per generation, because the status changes far more often than the spec.
"""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from torpor.api.conditions import Reason
from torpor.api.endpoint import InferenceEndpointSpec, Routing, own_name
from torpor.domain.waitroom import Refusal, Terms, Willing
from torpor.manifests.names import DIRECT_PORTS
from torpor.metrics import Whose

Json = dict[str, Any]
log = logging.getLogger(__name__)

_LOCKED = {
    "model": {"source": "s3://unreadable/weights/"},
    "access": {"keys": [{"name": "nobody", "sha256": "0" * 64}]},
}
"""Stands for a spec that cannot be read: whoever may have been locked out stays locked out."""
RETRY_AFTER = 30.0
"""Seconds a client is told to stay away when a wake failed for a reason that may pass and no time is known."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One endpoint as the door sees it."""

    namespace: str
    name: str
    uid: str
    generation: int
    created: int
    """Epoch seconds."""
    names: tuple[str, ...]
    """What the engine answers to: the model's name, its aliases, its adapters; bare, as clients send them."""
    keys: tuple[bytes, ...]
    """SHA-256 digests of the keys that may use it; none: everybody may."""
    terms: Terms
    first_byte_timeout: float
    """Seconds from handing a request to a pod to the first byte of its answer."""
    total_timeout: float
    """Seconds from handing a request to a pod to the last byte of its answer."""
    progress: str = ""
    """What the controller says of a wake under way, for those who wait."""
    version: int = 0
    """resourceVersion of the object that this was read from; 0 if it had none."""
    key_names: tuple[str, ...] = ()
    """Names of the keys, in the order of `keys`."""
    adapters: tuple[str, ...] = ()
    """Those of the names that are adapters."""
    direct: bool = False
    """It has a Service of its own, by which clients come past the gateways."""
    direct_port: int | None = None
    """Port at which that Service leads here; None while the controller has given none, or where it leads nowhere."""

    key: str = field(init=False)
    """`namespace/name`. This and the next two are made once, since each request needs them several times."""
    own_name: str = field(init=False)
    """The name that no other endpoint's engine answers to, whatever stands at an address."""
    whose: Whose = field(init=False)
    """The labels of its metrics."""

    def __post_init__(self) -> None:
        """Put together what is made of the other fields."""
        object.__setattr__(self, "key", f"{self.namespace}/{self.name}")
        object.__setattr__(self, "own_name", own_name(self.namespace, self.name))
        object.__setattr__(self, "whose", Whose(self.namespace, self.names[0], self.name))

    @property
    def counted_as(self) -> tuple[Whose, tuple[str, ...], tuple[str, ...]]:
        """Return every name of it that is a label's value."""
        return self.whose, self.key_names, self.adapters


def read_entry(obj: Json, before: Entry | None = None) -> Entry:
    """Return the entry of an InferenceEndpoint, taking over from *before* what has not changed."""
    metadata = obj["metadata"]
    same = before is not None and (before.uid, before.generation) == (
        metadata.get("uid", ""),
        metadata.get("generation", 0),
    )
    entry = before if before is not None and same else _read_spec(obj, before)
    status: Json = obj.get("status") or {}
    conditions = {c.get("type"): c for c in status.get("conditions") or ()}
    willing, refusal = _read_ready(entry, conditions.get("Ready") or {}, status)
    awake = conditions.get("Awake") or {}
    return dataclasses.replace(
        entry,
        terms=dataclasses.replace(
            entry.terms, willing=willing, refusal=refusal, usual_wake=_read_usual_wake(status)
        ),
        progress=str(awake.get("message") or awake.get("reason") or ""),
        version=read_version(obj),
        direct_port=_read_port(status) if entry.direct else None,
    )


def read_version(obj: Json) -> int:
    """Return the object's resourceVersion, which grows with every change; 0 if it has none."""
    version = str(obj["metadata"].get("resourceVersion") or "")
    return int(version) if version.isdecimal() else 0


def _read_spec(obj: Json, before: Entry | None) -> Entry:
    metadata = obj["metadata"]
    namespace, name = metadata["namespace"], metadata["name"]
    try:
        spec = InferenceEndpointSpec.model_validate(obj.get("spec") or {})
    except ValidationError as error:
        log.error("%s/%s: the spec cannot be read: %s", namespace, name, error)
        spec = InferenceEndpointSpec.model_validate(_LOCKED)
    model, scaling, queue = spec.model, spec.scaling, spec.queue
    names = (model.name or name, *model.aliases, *(adapter.name for adapter in model.adapters))
    return Entry(
        namespace=namespace,
        name=name,
        uid=metadata.get("uid", ""),
        generation=metadata.get("generation", 0),
        created=(_epoch_ms(metadata.get("creationTimestamp")) or 0) // 1000,
        names=tuple(dict.fromkeys(names)),
        keys=tuple(bytes.fromhex(key.sha256) for key in spec.access.keys),
        terms=Terms(
            name=f"{namespace}/{name}",
            in_flight_per_pod=scaling.in_flight_per_replica,
            max_replicas=scaling.max_replicas,
            max_waiting=queue.max_requests,
            max_waiting_bytes=queue.max_bytes,
            max_wait=queue.max_wait.total_seconds(),
            key_limits={k.name: k.max_in_flight for k in spec.access.keys if k.max_in_flight},
            by_prefix=scaling.routing is Routing.PREFIX,
        ),
        first_byte_timeout=queue.first_byte_timeout.total_seconds(),
        total_timeout=queue.total_timeout.total_seconds(),
        key_names=tuple(key.name for key in spec.access.keys),
        adapters=tuple(adapter.name for adapter in model.adapters),
        direct=spec.access.direct and not spec.access.keys,
    )


def _read_port(status: Json) -> int | None:
    """Return the port that the controller has given to a direct endpoint, if it is one that may be given."""
    port = (status.get("direct") or {}).get("port")
    return port if isinstance(port, int) and port in DIRECT_PORTS else None


def _read_ready(entry: Entry, ready: Json, status: Json) -> tuple[Willing, Refusal | None]:
    """Return what `Ready` means at the door; a No about an older generation is no judgement of this one."""
    verdict = ready.get("status")
    if verdict == "True":
        return Willing.YES, None
    judged = ready.get("observedGeneration") or status.get("observedGeneration")
    if verdict != "False" or (judged is not None and int(judged) < entry.generation):
        return Willing.UNKNOWN, None
    word = str(ready.get("reason") or Reason.UNKNOWN.value)
    reason = Reason.of(word)
    retry_at = _retry_at(reason, status)
    return Willing.NO, Refusal(
        status=reason.http_status if reason.http_status >= 400 else 503,
        code=word if reason is Reason.UNKNOWN else reason.code,
        message=f"{entry.key} cannot answer: {ready.get('message') or reason.meaning}",
        retry_after=RETRY_AFTER if reason.retryable and retry_at is None else None,
        retry_at_ms=retry_at,
    )


def _retry_at(reason: Reason, status: Json) -> int | None:
    """When it may answer again, where the controller said so."""
    if reason is Reason.OVER_BUDGET:
        budget = (status.get("cost") or {}).get("budget") or {}
        return _epoch_ms(budget.get("resets"))
    return _epoch_ms((status.get("failure") or {}).get("retryAt"))


def _read_usual_wake(status: Json) -> float | None:
    """Return the median of recent wakes in seconds; None while there was none."""
    seconds = (status.get("wakes") or {}).get("p50Seconds")
    try:
        return float(seconds) if seconds else None
    except ValueError:
        return None


def _epoch_ms(stamp: str | None) -> int | None:
    """Return an RFC 3339 instant as epoch milliseconds; None for none or one that cannot be read."""
    try:
        return int(datetime.fromisoformat(stamp).timestamp() * 1000) if stamp else None
    except ValueError:
        return None
