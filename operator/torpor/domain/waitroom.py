"""The words of the waiting room: what it is told, and what it may ask for.

`torpor.domain.activation.Room` speaks only in these values; see there for the rules.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field


class Willing(enum.Enum):
    """Whether the endpoint may be woken, as its `Ready` condition says."""

    YES = "yes"
    """Ready is True: asleep or awake, a request will be answered."""
    NO = "no"
    """Ready is False: waking cannot succeed; requests are answered with the reason."""
    UNKNOWN = "unknown"
    """Not judged yet (weights are being checked): requests are held, nothing is woken."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is answered without an engine; becomes an OpenAI error object."""

    status: int
    """HTTP status, 400–599."""
    code: str
    """Machine-readable reason, e.g. `queue_full` or a CamelCase reason of the endpoint's condition."""
    message: str
    """One sentence that names the object, the number and the limit."""
    retry_after: float | None = None
    """Seconds after which trying again makes sense, or None."""
    retry_at_ms: int | None = None
    """The same as an instant (epoch milliseconds), where the controller named one."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What the endpoint's owner allows and what its controller says, as far as waiting is concerned."""

    name: str
    """`namespace/name`, for messages."""
    willing: Willing = Willing.UNKNOWN
    refusal: Refusal | None = None
    """Set exactly when `willing` is NO."""
    in_flight_per_pod: int = 32
    """Most requests that this gateway sends to one pod at once."""
    max_replicas: int = 1
    max_waiting: int = 1000
    """Most requests that wait."""
    max_waiting_bytes: int = 256 * 1024 * 1024
    """Most bytes of request bodies that wait."""
    max_wait: float = 600.0
    """Seconds that one request waits."""
    key_limits: Mapping[str, int] = field(default_factory=dict[str, int])
    """Most requests, waiting and running, of one key by its name; a key that is not here has no limit."""
    by_prefix: bool = False
    """Requests whose prompts begin alike go to the same pod, as long as it is not much busier than the others."""
    usual_wake: float | None = None
    """Seconds that recent wakes took in the median; None while there were none."""


@dataclass(frozen=True, slots=True)
class PodFacts:
    """One engine pod as the API server describes it."""

    uid: str
    address: str | None = None
    """`host:port`, or None while it has no IP."""
    ready: bool = False
    """The kubelet's own verdict, which comes later than a probe but counts when it is there."""
    leaving: bool = False
    """It is being deleted or has ended: in-flight requests finish, new ones go elsewhere."""
    incarnation: int = 0
    """Restarts of the engine container: another number is another process."""
    spare: bool = False
    """It goes when its requests have ended: new ones go elsewhere while there is room."""

    @property
    def verdict(self) -> tuple[bool, int, str | None]:
        """Return what makes an earlier judgement of this pod void when it changes."""
        return self.ready, self.incarnation, self.address


@dataclass(slots=True)
class Pod:
    """What the room remembers of a pod."""

    facts: PodFacts
    serving: bool = False
    """Known to answer: a probe said so, or the kubelet did."""
    in_flight: int = 0
    probing: bool = False
    """It is being asked again and again, because somebody waits."""
    aside: bool = False
    """It served, and then could not be reached: it is looked at now and then, also while nobody waits."""
    glancing: bool = False
    """The next such look is under way."""
    pause: float = 0.0
    """Seconds before that look."""
    seed: int = 0
    """A number made from its uid, the same at every gateway, that decides which prompts it is the first choice for."""

    @property
    def candidate(self) -> bool:
        """Return whether requests may ever be sent there."""
        return self.facts.address is not None and not self.facts.leaving

    @property
    def usable(self) -> bool:
        """Return whether a request may be sent there now, room permitting."""
        return self.serving and self.candidate


@dataclass(slots=True)
class Request:
    """One request between its arrival and its end; `pod` is set from grant to end."""

    ticket: int
    size: int
    deadline: float
    owner: str = ""
    """Name of the key that it came with; empty where the endpoint has none."""
    prefix: int | None = None
    """What its prompt begins with, as a number; None where that does not matter."""
    no_wait: bool = False
    """It is refused instead of parked; who sends such a one is promised a wake."""
    pod: Pod | None = None


class WriteOutcome(enum.Enum):
    """How a wake write ended."""

    WRITTEN = "written"
    """The replicas are what this gateway asked for."""
    RACE_LOST = "race-lost"
    """Somebody else changed 0 to more first, which is just as good."""
    MISSING = "missing"
    """There is no such Deployment (yet)."""
    DENIED = "denied"
    """The gateway is not allowed to write: people must act."""
    FAILED = "failed"
    """The API server did not answer or could not: try again."""


@dataclass(frozen=True, slots=True)
class Written:
    """The outcome of one wake write, with what the API server said."""

    outcome: WriteOutcome
    replicas: int = 0
    version: int | None = None
    """resourceVersion of the Deployment after the write."""
    message: str = ""
    """What went wrong, for people."""


@dataclass(slots=True)
class Grant:
    """Send this request to that pod now; it counts as in flight from here on.

    One is made with every request, and one that is frozen takes three times as long to make.
    """

    ticket: int
    uid: str


@dataclass(frozen=True, slots=True)
class Park:
    """Hold this request."""

    ticket: int


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer this request with an error."""

    ticket: int
    refusal: Refusal


@dataclass(frozen=True, slots=True)
class Settle:
    """Call `on_settled` after so many seconds."""

    after: float


@dataclass(frozen=True, slots=True)
class Wake:
    """Write `replicas` 0 → N and report with `on_written`."""

    replicas: int


@dataclass(frozen=True, slots=True)
class Probe:
    """Ask this pod until it answers or `wants_probe` says no, then report with `on_probed`."""

    uid: str


@dataclass(frozen=True, slots=True)
class Glance:
    """After so many seconds ask this pod once, if `wants_glance` still says yes, and report with `on_glanced`."""

    uid: str
    after: float


Effect = Grant | Park | Refuse | Settle | Wake | Probe | Glance
