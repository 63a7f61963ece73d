"""How a file is taken apart: pieces are what is written, summed and remembered, ranges are what is asked for.

A piece is what one buffer holds. It is small, so that 64 connections fit into the memory bound and a kill
costs little; a range holds several pieces, so that a request is worth its round trip.
"""

from collections.abc import Container

from torpor.domain.fetching import Part, RemoteFile

MOST_PIECE_BYTES = 2 * 1024 * 1024
"""Fits the processor's cache: larger buffers cost a tenth more CPU time (measured)."""


def choose_piece_bytes(part_bytes: int) -> int:
    """Bytes of a piece for ranges of at most `part_bytes`, both multiples of a disk block."""
    return min(part_bytes, MOST_PIECE_BYTES)


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
