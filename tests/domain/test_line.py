"""The line: keys take turns, the order within a key is that of arrival, and nothing grows with who has left."""

from __future__ import annotations

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from torpor.domain.line import SLACK, Line
from torpor.domain.waitroom import Request

OWNERS = "abc"


def request(ticket: int, owner: str = "", deadline: float = 9.0) -> Request:
    return Request(ticket, 10, deadline, owner)


def popped(line: Line) -> list[int]:
    return [line.pop().ticket for _ in range(len(line))]


def test_without_keys_it_goes_by_arrival() -> None:
    line = Line()
    for ticket in (3, 1, 2):
        line.push(request(ticket))
    assert popped(line) == [1, 2, 3]


def test_keys_take_turns_and_begin_behind_those_who_wait_already() -> None:
    line = Line()
    for ticket, owner in enumerate("aaabbc"):
        line.push(request(ticket, owner))
    assert line.of("a") == 3
    assert popped(line) == [0, 3, 5, 1, 4, 2]
    assert line.of("a") == 0


def test_a_key_whose_first_requests_left_does_not_lose_its_turn() -> None:
    line = Line()
    for ticket in range(1000):
        line.push(request(ticket, "a"))
    for ticket in range(999):
        line.leave(ticket)
    for ticket in range(1000, 2000):
        line.push(request(ticket, "b"))
    assert line.pop().ticket == 999


def test_who_comes_back_has_the_old_place_and_the_key_its_turn() -> None:
    line = Line()
    for ticket, owner in enumerate("aabb"):
        line.push(request(ticket, owner))
    back = line.pop()
    line.push(back, returns=True)
    assert popped(line) == [0, 2, 1, 3]


def test_the_late_ones_are_taken_in_order_of_arrival() -> None:
    line = Line()
    for ticket, deadline in enumerate([5.0, 3.0, 4.0, 9.0]):
        line.push(request(ticket, OWNERS[ticket % 3], deadline))
    assert line.next_deadline == 3.0
    assert [late.ticket for late in line.take_late(5.0)] == [0, 1, 2]
    assert line.next_deadline == 9.0
    assert [one.ticket for one in line.take_all()] == [3]
    nobody: float | None = line.next_deadline
    assert (nobody, line.bytes, len(line)) == (None, 0, 0)


def test_those_who_left_are_forgotten() -> None:
    line = Line()
    line.push(request(0))
    for ticket in range(1, 10_000):
        line.push(request(ticket))
        line.leave(ticket)
    kept = max(len(line._turns[""].tickets), len(line._deadlines))  # pyright: ignore[reportPrivateUsage]
    assert kept <= SLACK + 4


@given(st.lists(st.tuples(st.sampled_from(["push", "pop", "leave", "back"]), st.integers(0, 99))))
def test_it_does_what_a_list_for_each_key_and_a_list_of_turns_would(
    steps: list[tuple[str, int]],
) -> None:
    line, ticket = Line(), 0
    waiting: dict[str, list[int]] = {}
    turns: deque[str] = deque()
    out: list[Request] = []
    for word, number in steps:
        everybody = sorted(t for tickets in waiting.values() for t in tickets)
        if word == "push":
            ticket += 1
            owner = OWNERS[number % 3]
            line.push(request(ticket, owner, float(number)))
            waiting.setdefault(owner, []).append(ticket)
            if owner not in turns:
                turns.append(owner)
        elif word == "pop" and everybody:
            owner = turns.popleft()
            expected = waiting[owner].pop(0)
            if waiting[owner]:
                turns.append(owner)
            assert line.first.ticket == expected
            out.append(line.pop())
            assert out[-1].ticket == expected
        elif word == "leave" and everybody:
            left = everybody[number % len(everybody)]
            assert line.leave(left)
            assert not line.leave(left)
            for owner, tickets in waiting.items():
                if left in tickets:
                    tickets.remove(left)
                    if not tickets:
                        turns.remove(owner)
        elif word == "back" and out:
            back = out.pop(number % len(out))
            line.push(back, returns=True)
            waiting[back.owner] = sorted([*waiting.get(back.owner, []), back.ticket])
            if back.owner in turns:
                turns.remove(back.owner)
            turns.appendleft(back.owner)
        assert len(line) == sum(map(len, waiting.values()))
        assert [line.of(owner) for owner in OWNERS] == [
            len(waiting.get(owner, ())) for owner in OWNERS
        ]
        assert (line.next_deadline is None) == (len(line) == 0)
