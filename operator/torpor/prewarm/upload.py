"""Putting things into the bucket from memory: whole or not at all.

Every request says what it carries (CRC64NVME where the store takes it, else MD5), so a store cannot keep other
bytes than were sent. Keys are relative to the prefix of the session's address.
"""

from collections.abc import Iterable, Iterator
from itertools import chain

from torpor.domain.fetching import FetchReason
from torpor.prewarm.failure import FetchFailure, ObjectChanged
from torpor.prewarm.multipart import Begun, Upload, abort, crc64_base64, md5_header, part_bytes_of
from torpor.prewarm.store import Session


def put_bytes(session: Session, key: str, data: bytes | memoryview) -> str:
    """Put a small object, whole or not at all, with a few tries; returns its ETag.

    Raises:
        FetchFailure: no connection, or no right to write (s3:PutObject).
    """
    target = session.address.object_target(key)
    checked = {"x-amz-checksum-crc64nvme": crc64_base64(data)}
    try:
        return session.patiently(lambda: session.put(target, key, checked, data))
    except FetchFailure as error:
        if error.reason != FetchReason.INTERNAL:
            raise
        plain = md5_header(data)
        return session.patiently(lambda: session.put(target, key, plain, data))


def put_stream(session: Session, key: str, chunks: Iterable[bytes], size_hint: int = 0) -> int:
    """Put an object of unknown size from an iterator, in bounded memory; returns its bytes.

    `size_hint` is a guess at the size, needed above 160 GB only. A failure leaves nothing in the bucket.

    Raises:
        FetchFailure: as `put_bytes`.
    """
    blocks = _regroup(chunks, part_bytes_of(size_hint))
    first = next(blocks, b"")
    second = next(blocks, None)
    if second is None:
        put_bytes(session, key, first)
        return len(first)
    upload = Upload.begin(session, key)
    total = 0
    try:
        for number, block in enumerate(chain((first, second), blocks), 1):
            upload.put_part(session, number, block)
            total += len(block)
        upload.complete(session)
    except BaseException:
        abort(session, Begun(key, upload.id, ""))
        raise
    return total


def delete(session: Session, key: str) -> None:
    """Remove an object; one that is not there is as good as removed.

    Raises:
        FetchFailure: no connection or no right to.
    """
    target = session.address.object_target(key)
    try:
        session.patiently(lambda: session.exchange("DELETE", target, key, act="write"))
    except ObjectChanged:
        return


def _regroup(chunks: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Blocks of exactly `size` bytes, and what is left."""
    held = bytearray()
    for chunk in chunks:
        held += chunk
        while len(held) >= size:
            yield bytes(held[:size])
            del held[:size]
    if held:
        yield bytes(held)
