"""How long a write is held back for a herd that is still coming, and for how many it is sized."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.domain.test_activation import WRITTEN, YES, asleep
from torpor.domain.activation import Room
from torpor.domain.rousing import SETTLE_LIMIT_SECONDS, SETTLE_MOST_SECONDS, SETTLE_SECONDS
from torpor.domain.waitroom import Effect, Park, Settle, Wake


def quiet(room: Room, now: float) -> list[float | Effect]:
    """Return the pauses that follow one another while nobody comes, and the write after them."""
    pauses: list[float | Effect] = []
    while True:
        (effect,) = room.on_settled(now)
        if not isinstance(effect, Settle):
            return [*pauses, effect]
        pauses.append(effect.after)
        now += effect.after


def test_the_first_waiter_settles_and_the_write_is_sized_for_all_who_came_meanwhile() -> None:
    room = asleep()
    assert room.on_request(1, 10, 0.0) == [Park(1), Settle(SETTLE_SECONDS)]
    assert room.on_request(2, 10, 0.001) == [Park(2)]
    assert room.on_request(3, 10, 0.001) == [Park(3)]
    assert room.on_settled(0.002) == [Settle(2 * SETTLE_SECONDS)]
    pauses = quiet(room, 0.006)
    assert pauses == [0.008, 0.016, SETTLE_MOST_SECONDS, Wake(2)]
    assert room.on_request(4, 10, 0.07) == [Park(4)]


def test_a_herd_that_never_stops_growing_is_written_for_after_the_limit() -> None:
    room = asleep(replace(YES, max_waiting=1000, max_replicas=1000))
    _, effect = room.on_request(1, 1, 0.0)
    now, ticket, pauses = 0.0, 1, []
    while isinstance(effect, Settle):
        pauses.append(effect.after)
        now, ticket = now + effect.after, ticket + 1
        room.on_request(ticket, 1, now)
        (effect,) = room.on_settled(now)
    assert pauses[:5] == pytest.approx([0.002, 0.004, 0.008, 0.016, SETTLE_MOST_SECONDS])
    assert now == pytest.approx(SETTLE_LIMIT_SECONDS)
    assert effect == Wake(-(-ticket // 2))


def test_a_gateway_that_reads_slowly_waits_for_what_is_unread() -> None:
    """On a busy machine each pause may end late, for reading took that long; only the pauses count."""
    room = asleep(replace(YES, max_waiting=1000, max_replicas=1000))
    _, effect = room.on_request(1, 1, 0.0)
    now, ticket = 0.0, 1
    for _ in range(5):
        assert isinstance(effect, Settle)
        now += effect.after + SETTLE_LIMIT_SECONDS
        for _ in range(50):
            ticket += 1
            room.on_request(ticket, 1, now)
        (effect,) = room.on_settled(now)
    assert isinstance(effect, Settle)
    assert quiet(room, now + effect.after)[-1] == Wake(-(-ticket // 2))


def test_a_herd_that_comes_in_clumps_is_waited_for_and_the_next_one_starts_with_a_short_pause() -> (
    None
):
    room = asleep(replace(YES, max_waiting=1000, max_replicas=1000))
    room.on_request(1, 1, 0.0)
    room.on_request(2, 1, 0.001)
    assert room.on_settled(0.002) == [Settle(0.004)]
    room.on_request(3, 1, 0.005)  # the clump after a gap longer than the first pause
    assert room.on_settled(0.006) == [Settle(0.008)]
    # Nobody came, but two pods are wanted: there may be more clumps.
    assert room.on_settled(0.014) == [Settle(0.016)]
    room.on_request(4, 1, 0.029)
    room.on_request(5, 1, 0.029)
    assert room.on_settled(0.03) == [Settle(SETTLE_MOST_SECONDS)]
    assert room.on_settled(0.062) == [Wake(3)]
    for ticket in range(1, 6):
        room.on_end(ticket, 0.02)
    room.on_written(WRITTEN, 0.02)
    room.on_deployment(0, 12, 1.0)
    assert room.on_request(6, 1, 2.0) == [Park(6), Settle(SETTLE_SECONDS)]


def test_a_few_that_fit_one_pod_wait_for_one_quiet_pause_only() -> None:
    room = asleep(replace(YES, max_waiting=1000, max_replicas=1000))
    room.on_request(1, 1, 0.0)
    room.on_request(2, 1, 0.001)
    assert room.on_settled(0.002) == [Settle(0.004)]
    assert room.on_settled(0.006) == [Wake(1)]


def test_there_is_no_pause_where_n_cannot_grow() -> None:
    room = asleep(replace(YES, max_replicas=1))
    assert room.on_request(1, 10, 0.0) == [Park(1), Wake(1)]
