"""Durations, bytes, money and times: what is read, what is written, what is refused."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torpor.api.quantities import (
    format_bytes,
    format_duration,
    format_money,
    format_share,
    format_start,
    format_timestamp,
    parse_bytes,
    parse_duration,
    parse_money,
    parse_share,
    parse_start,
    parse_timestamp,
)

DURATIONS = {
    "15s": 15,
    "2m": 120,
    "1h30m": 5400,
    "0s": 0,
    "90s": 90,
    "168h": 604_800,
    "1h1m1s": 3661,
}
BYTES = {
    "0": 0,
    "4096": 4096,
    "500Gi": 500 * 2**30,
    "1.5Ti": 3 * 2**39,
    "1.5G": 1_500_000_000,
    "1k": 1000,
    "0.001k": 1,
    "2Pi": 2**51,
}


@pytest.mark.parametrize(("text", "seconds"), DURATIONS.items(), ids=DURATIONS)
def test_a_duration_is_read(text: str, seconds: int) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "2", "m", "2d", "1m1h", "-1s", "1.5h", "2 m", "२m", None, 5])
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="is not a duration such as 15s, 2m or 1h30m"):
        parse_duration(text)


@given(st.integers(1, 64), st.integers(1, 64))
def test_a_share_is_read_and_written_in_its_lowest_terms(part: int, of: int) -> None:
    share = parse_share(f"{part}/{of}")
    assert share == Fraction(part, of)
    assert parse_share(format_share(share)) == share


@pytest.mark.parametrize(
    "text",
    ["", "1", "0/7", "1/0", "1/65", "65/64", "-1/7", "1/7/2", "1 / 7", "0.5", "1/٧", None, 1],
)
def test_what_is_no_share_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="is not a share such as 1/7"):
        parse_share(text)


@given(st.integers(min_value=0, max_value=10**9))
def test_a_written_duration_is_read_as_the_same(seconds: int) -> None:
    value = timedelta(seconds=seconds)
    assert parse_duration(format_duration(value)) == value


@pytest.mark.parametrize(("text", "count"), BYTES.items(), ids=BYTES)
def test_bytes_are_read(text: str, count: int) -> None:
    assert parse_bytes(text) == count


@pytest.mark.parametrize(
    "text", ["", "Gi", "500 Gi", "5GB", "-1", "1e3", "1.Gi", "१", None, True, 1.5]
)
def test_what_is_no_number_of_bytes_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="is not a number of bytes such as 500Gi"):
        parse_bytes(text)


@given(st.integers(min_value=0, max_value=2**60))
def test_written_bytes_are_read_as_the_same(count: int) -> None:
    assert parse_bytes(format_bytes(count)) == count


def test_money_keeps_its_digits() -> None:
    assert parse_money("4.00") == Decimal(4)
    assert format_money(parse_money("4.00")) == "4.00"
    assert format_money(Decimal("1E-9")) == "0.000000001"


@pytest.mark.parametrize("text", ["", "abc", "-1", "1,50", "1e3", ".5", "$4", 4.0, 4, None])
def test_what_is_no_money_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="is not an amount of money"):
        parse_money(text)


def test_a_time_is_utc_and_whole_milliseconds() -> None:
    assert parse_timestamp("2026-11-23T22:10:30.1259+01:00") == datetime(
        2026, 11, 23, 21, 10, 30, 125_000, UTC
    )


@given(st.integers(min_value=0, max_value=10**14))
def test_a_written_time_is_read_as_the_same(milliseconds: int) -> None:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
    assert parse_timestamp(format_timestamp(moment)) == moment


@pytest.mark.parametrize("text", ["2026-11-23T21:10:30", "yesterday", "", None, 0])
def test_what_is_no_time_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"is not a time such as|has no time zone"):
        parse_timestamp(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2026-12-01", datetime(2026, 12, 1, tzinfo=UTC)),
        ("2026-12-01T06:00:01Z", datetime(2026, 12, 1, 6, 0, 1, tzinfo=UTC)),
        ("2028-02-29", datetime(2028, 2, 29, tzinfo=UTC)),
    ],
)
def test_a_beginning_is_a_day_or_a_second_of_it(text: str, value: datetime) -> None:
    assert parse_start(text) == value
    assert format_start(value) == text


@pytest.mark.parametrize(
    "text",
    [
        "2027-02-29",
        "2027-13-01",
        "27-01-01",
        "2027-01-01T06:00:00",
        "2027-01-01T6:00:00Z",
        "",
        5,
        None,
    ],
)
def test_what_is_no_beginning_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="is not a day such as 2026-12-01"):
        parse_start(text)
