"""How a file is taken apart: pieces are what is written, summed and remembered, ranges are what is asked for.

A piece is what one buffer holds. It is small, so that 64 connections fit into the memory bound and a kill
costs little; a range holds several pieces, so that a request is worth its round trip.
"""

from collections.abc import Container

from torpor.domain.fetching import Part, RemoteFile

MOST_PIECE_BYTES = 2 * 1024 * 1024
"""With 64 connections, a buffer each, half of what the whole may take."""

FEW_CORES, LARGE_PIECE_BYTES = 4, 4 * 1024 * 1024
"""Every piece costs some switches between threads, and time to switch is what a node of few cores has least of: there
4 MiB take a tenth less CPU time than 2 MiB (measured). That many connections pay only where there are more cores."""

SPARE_PIECES = 8
"""As many as there are connections on two cores, where 4 bring half of the gain, and 16 no more (measured)."""

LEAST_RANGE_BYTES, LARGE_RANGE_BYTES = 8 * 1024 * 1024, 32 * 1024 * 1024
ROUNDS = 8
"""Ranges that each connection should get, so that all end at about the same time."""


def choose_range_bytes(total: int, connections: int, wanted: int) -> int:
    """Bytes of a range; `wanted` is what the setting says, 0 leaves it to us.

    Of little to fetch a connection takes 8 MiB a time, so that all have work, of much up to 32 MiB: a request costs a
    millisecond of CPU time and a round trip without bytes. A long one loses nothing when it breaks off, since what
    arrived is written piece by piece.
    """
    share = total // (max(1, connections) * ROUNDS) // LEAST_RANGE_BYTES * LEAST_RANGE_BYTES
    return wanted or max(LEAST_RANGE_BYTES, min(LARGE_RANGE_BYTES, share))


def choose_piece_bytes(wanted: int, cores: int) -> int:
    """Bytes of a piece, a multiple of a disk block; no more than a range has, if the setting says how much that is."""
    return min(
        wanted or LEAST_RANGE_BYTES, LARGE_PIECE_BYTES if cores < FEW_CORES else MOST_PIECE_BYTES
    )


def count_spare_pieces(piece_bytes: int) -> int:
    """Buffers of a process beside one for each connection, so that reading goes on while the disk writes.

    Large pieces are those of few cores, and of few connections. Where there are many, others read meanwhile, and the
    memory is theirs.
    """
    return SPARE_PIECES if piece_bytes > MOST_PIECE_BYTES else 0


def cut_pieces(part: Part, piece_bytes: int) -> tuple[Part, ...]:
    """The pieces of a range that begins with one."""
    end = part.offset + part.length
    return tuple(
        Part(part.key, offset, min(piece_bytes, end - offset))
        for offset in range(part.offset, end, piece_bytes)
    )


def cut_missing(
    file: RemoteFile, there: Container[int], part_bytes: int, piece_bytes: int
) -> tuple[Part, ...]:
    """The ranges to ask for: neighbouring pieces that are not there, as many as a range may hold.

    `there` has the offsets of the pieces that need not be asked for.
    """
    most = max(1, part_bytes // piece_bytes) * piece_bytes
    ranges: list[Part] = []
    for offset in range(0, file.size, piece_bytes):
        if offset in there:
            continue
        length = min(piece_bytes, file.size - offset)
        last = ranges[-1] if ranges else None
        if last and last.offset + last.length == offset and last.length + length <= most:
            ranges[-1] = Part(file.key, last.offset, last.length + length)
        else:
            ranges.append(Part(file.key, offset, length))
    return tuple(ranges)
