"""Ranges cover what is missing, once, and nothing else."""

from hypothesis import given
from hypothesis import strategies as st

from torpor.domain.fetching import Part, RemoteFile, cut
from torpor.domain.pieces import (
    LARGE_RANGE_BYTES,
    LEAST_RANGE_BYTES,
    ROUNDS,
    SPARE_PIECES,
    choose_piece_bytes,
    choose_range_bytes,
    count_spare_pieces,
    cut_missing,
    cut_pieces,
)

KIB = 1024


def test_without_anything_there_the_ranges_are_the_parts() -> None:
    file = RemoteFile("f", 100 * KIB + 5, "e")
    assert cut_missing(file, (), 64 * KIB, 64 * KIB) == cut(file, 64 * KIB)
    assert cut_missing(file, (), 64 * KIB, 16 * KIB) == cut(file, 64 * KIB)


def test_what_is_there_is_left_out_and_neighbours_share_a_request() -> None:
    file = RemoteFile("f", 10 * KIB, "e")
    there = {3 * KIB, 7 * KIB}
    assert cut_missing(file, there, 2 * KIB, KIB) == (
        Part("f", 0, 2 * KIB),
        Part("f", 2 * KIB, KIB),
        Part("f", 4 * KIB, 2 * KIB),
        Part("f", 6 * KIB, KIB),
        Part("f", 8 * KIB, 2 * KIB),
    )


@given(st.integers(0, 500), st.integers(1, 50), st.integers(1, 20), st.sets(st.integers(0, 500)))
def test_ranges_and_what_is_there_make_the_whole_file(
    size: int, part: int, piece: int, numbers: set[int]
) -> None:
    file = RemoteFile("f", size, "e")
    piece = min(part, piece)
    there = {number * piece for number in numbers if number * piece < size}
    ranges = cut_missing(file, there, part, piece)
    asked = [found.offset for one in ranges for found in cut_pieces(one, piece)]
    assert sorted([*asked, *there]) == list(range(0, size, piece))
    assert all(one.length <= part for one in ranges)
    assert sum(found.length for one in ranges for found in cut_pieces(one, piece)) == sum(
        min(piece, size - offset) for offset in asked
    )


def test_a_piece_is_never_larger_than_a_range_nor_than_a_buffer() -> None:
    assert choose_piece_bytes(4096, 2) == 4096
    assert choose_piece_bytes(256 << 20, 2) == 4 << 20
    assert choose_piece_bytes(256 << 20, 16) == 2 << 20


@given(st.integers(0, 1 << 42), st.integers(1, 64))
def test_every_connection_has_several_ranges_unless_they_would_be_too_small(
    total: int, connections: int
) -> None:
    size = choose_range_bytes(total, connections, 0)
    assert LEAST_RANGE_BYTES <= size <= LARGE_RANGE_BYTES
    assert size == LEAST_RANGE_BYTES or size * connections * ROUNDS <= total
    assert choose_range_bytes(total, connections, 4096) == 4096


def test_few_cores_have_spare_buffers_and_many_give_the_memory_to_connections() -> None:
    assert count_spare_pieces(choose_piece_bytes(0, 2)) == SPARE_PIECES
    assert count_spare_pieces(choose_piece_bytes(0, 4)) == 0
