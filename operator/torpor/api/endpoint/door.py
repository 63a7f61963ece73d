"""`spec.access` and `spec.queue`: who may ask, and how long a request waits at the gateway."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field, StringConstraints

from torpor.api.bounds import Between, MoreThanZero
from torpor.api.quantities import Bytes, Duration
from torpor.api.words import Rule, Words, by_key


class Key(Words):
    """One client's key; only its hash is stored. `torpor key create` makes both."""

    name: Annotated[
        str,
        StringConstraints(min_length=1, max_length=63, pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"),
    ]
    """Name of the client; it tells keys apart."""
    sha256: Annotated[
        str, StringConstraints(min_length=64, max_length=64, pattern=r"^[0-9a-f]{64}$")
    ]
    """SHA-256 of the key, 64 hexadecimal digits in lower case."""
    max_in_flight: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Most requests of this key at one gateway at the same time, those that wait included; the next one is
    answered with 429. Default: no limit."""


class Access(Words):
    """Who may ask, and by which way."""

    rules = (
        Rule(
            "!has(self.direct) || !self.direct || !has(self.keys) || size(self.keys) == 0",
            "direct leads past the gateways, which alone check keys: leave out access.keys, or access.direct",
            field=".direct",
        ),
    )

    keys: Annotated[
        tuple[Key, ...],
        Field(
            max_length=256,
            json_schema_extra=by_key("name"),
        ),
    ] = ()
    """Keys that may use the endpoint, at most 256. Default: none, and everybody who reaches the gateway may."""
    direct: bool = False
    """Give the endpoint a Service of its own, `<name>-direct`, that leads straight to the engines while it is awake and
    to the gateways while it is not. Whoever reaches that Service may use it: keys are checked by gateways only."""


class Queue(Words):
    """How long requests wait at the gateway, and how many."""

    rules = (
        Rule(
            "!has(self.firstByteTimeout) || !has(self.totalTimeout)"
            " || duration(self.firstByteTimeout) <= duration(self.totalTimeout)",
            "firstByteTimeout must not be greater than totalTimeout",
            expression="'firstByteTimeout ' + self.firstByteTimeout +"
            " ' must not be greater than totalTimeout ' + self.totalTimeout",
            field=".firstByteTimeout",
        ),
    )

    max_wait: Annotated[Duration, Between("1s", "24h")] = timedelta(minutes=10)
    """Longest time a request waits for a replica, 1s to 24h; then it is answered with 504."""
    max_requests: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    """Most requests that wait at one gateway; the next one is answered with 429."""
    max_bytes: Annotated[Bytes, MoreThanZero()] = 256 * 1024**2
    """Most bytes of waiting requests that one gateway holds; the next one is answered with 429."""
    first_byte_timeout: Annotated[Duration, Between("1s", "24h")] = timedelta(minutes=5)
    """Longest time from handing the request to a replica to the first byte of its answer, 1s to 24h."""
    total_timeout: Annotated[Duration, Between("1s", "24h")] = timedelta(minutes=30)
    """Longest time from handing the request to a replica to the last byte of its answer, 1s to 24h."""
