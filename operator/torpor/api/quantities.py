"""Durations, bytes and money: strings in YAML, exact values in Python.

| in YAML | type here | value |
| --- | --- | --- |
| `1h30m`, `2m`, `15s` | `Duration` | `timedelta`, whole seconds |
| `500Gi`, `1.5G`, `4096` | `Bytes` | `int`, bytes |
| `"4.00"` | `Money` | `Decimal`, in the currency that the context names |
| `1/7` | `Share` | `Fraction` |
| `2026-11-23T21:10:30.125Z` | `Timestamp` | aware UTC `datetime`, whole milliseconds |
| `2026-12-01`, `2026-12-01T06:00:00Z` | `Start` | aware UTC `datetime`, whole seconds |
"""

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

DURATION_PATTERN = r"^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,7}s)?$"
BYTES_PATTERN = r"^[0-9]{1,19}(\.[0-9]{1,3})?(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?$"
START_PATTERN = (
    r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    r"(T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z)?$"
)
MONEY_PATTERN = r"^[0-9]{1,12}(\.[0-9]{1,9})?$"

_UP_TO_64 = "([1-9]|[1-5][0-9]|6[0-4])"
SHARE_PATTERN = rf"^{_UP_TO_64}/{_UP_TO_64}$"

_DURATION = re.compile(r"(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,7})s)?")
_UNITS = {
    "": 1,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "P": 10**15,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
    "Pi": 2**50,
}


def parse_duration(text: object) -> timedelta:
    """Read `1h30m`, `2m` or `15s`; raise ValueError for anything else, the empty string included."""
    if isinstance(text, timedelta):
        return text
    found = _DURATION.fullmatch(text) if isinstance(text, str) and text else None
    if found is None:
        raise ValueError(f"{text!r} is not a duration such as 15s, 2m or 1h30m")
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)


def format_duration(value: timedelta) -> str:
    """Write a duration with the largest units that fit, such as `1h30m`; parts of a second are cut."""
    seconds = max(0, int(value.total_seconds()))
    parts = ((seconds // 3600, "h"), (seconds % 3600 // 60, "m"), (seconds % 60, "s"))
    return "".join(f"{count}{unit}" for count, unit in parts if count) or "0s"


def parse_bytes(text: object) -> int:
    """Read `500Gi`, `1.5G` or `4096` as a number of bytes; a fraction of a byte is rounded up."""
    if isinstance(text, int) and not isinstance(text, bool):
        return text
    if not isinstance(text, str) or not re.fullmatch(BYTES_PATTERN, text):
        raise ValueError(f"{text!r} is not a number of bytes such as 500Gi, 1.5G or 4096")
    number = text.rstrip("KMGTPki")
    exact = Decimal(number) * _UNITS[text[len(number) :]]
    return int(exact.to_integral_value(rounding="ROUND_CEILING"))


def format_bytes(value: int) -> str:
    """Write bytes with the largest binary unit that loses nothing, such as `500Gi` or `4097`."""
    for unit in ("Pi", "Ti", "Gi", "Mi", "Ki"):
        if value and value % _UNITS[unit] == 0:
            return f"{value // _UNITS[unit]}{unit}"
    return str(value)


def parse_money(text: object) -> Decimal:
    """Read a plain decimal such as `"4.00"`. A float is refused: it has already lost the exact value."""
    if isinstance(text, Decimal):
        return text
    if not isinstance(text, str) or not re.fullmatch(MONEY_PATTERN, text):
        raise ValueError(f'{text!r} is not an amount of money such as "4.00" (a quoted decimal)')
    return Decimal(text)


def format_money(value: Decimal) -> str:
    """Write an amount without exponent and with the digits it has."""
    return format(value, "f")


def parse_share(text: object) -> Fraction:
    """Read `1/7`: numerator and denominator, each from 1 to 64."""
    if isinstance(text, Fraction):
        return text
    if not isinstance(text, str) or not re.fullmatch(SHARE_PATTERN, text):
        raise ValueError(f"{text!r} is not a share such as 1/7 (whole numbers from 1 to 64)")
    return Fraction(text)


def format_share(value: Fraction) -> str:
    """Write a share in its lowest terms, such as `1/7`."""
    return f"{value.numerator}/{value.denominator}"


def parse_timestamp(text: object) -> datetime:
    """Read RFC 3339 as UTC, cut to milliseconds; raise ValueError when the zone is missing."""
    try:
        value = text if isinstance(text, datetime) else datetime.fromisoformat(str(text))
    except ValueError:
        raise ValueError(f"{text!r} is not a time such as 2026-11-23T21:10:30Z") from None
    if value.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone; write 2026-11-23T21:10:30Z")
    value = value.astimezone(UTC)
    return value.replace(microsecond=value.microsecond // 1000 * 1000)


def format_timestamp(value: datetime) -> str:
    """Write RFC 3339 in UTC: milliseconds only where there are some."""
    spec = "milliseconds" if value.microsecond else "seconds"
    return value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec=spec) + "Z"


def parse_start(text: object) -> datetime:
    """Read a day (its first second, UTC) or a second of it; raise ValueError for a day that no calendar has."""
    if isinstance(text, datetime):
        return text
    if isinstance(text, str) and re.fullmatch(START_PATTERN, text):
        with suppress(ValueError):
            return datetime.fromisoformat(text).replace(tzinfo=UTC)
    raise ValueError(
        f"{text!r} is not a day such as 2026-12-01, or a time such as 2026-12-01T06:00:00Z"
    )


def format_start(value: datetime) -> str:
    """Write a day, with the time of day unless that is its first second."""
    text = format_timestamp(value)
    return text.removesuffix("T00:00:00Z")


def _text(pattern: str, longest: int) -> WithJsonSchema:
    return WithJsonSchema(
        {"type": "string", "minLength": 1, "maxLength": longest, "pattern": pattern}
    )


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    _text(DURATION_PATTERN, 24),
]
Bytes = Annotated[
    int,
    BeforeValidator(parse_bytes),
    PlainSerializer(format_bytes, return_type=str),
    _text(BYTES_PATTERN, 24),
]
Money = Annotated[
    Decimal,
    BeforeValidator(parse_money),
    PlainSerializer(format_money, return_type=str),
    _text(MONEY_PATTERN, 24),
]
Share = Annotated[
    Fraction,
    BeforeValidator(parse_share),
    PlainSerializer(format_share, return_type=str),
    _text(SHARE_PATTERN, 5),
]
Timestamp = Annotated[
    datetime,
    BeforeValidator(parse_timestamp),
    PlainSerializer(format_timestamp, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
Start = Annotated[
    datetime,
    BeforeValidator(parse_start),
    PlainSerializer(format_start, return_type=str),
    _text(START_PATTERN, 20),
]
Count = Annotated[int, WithJsonSchema({"type": "integer", "format": "int64"})]
Milliseconds = Count
