"""Uploads in parts: what was put stays with the store until the upload is completed, continued or aborted.

Until then the store keeps its parts, for money: whoever begins an upload completes it, continues it later
(`find_uploads`, `Upload.resume`) or aborts it.
"""

import base64
import hashlib
import threading
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import quote, unquote_plus, urlencode
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from torpor.domain.fetching import FetchReason
from torpor.prewarm import proof
from torpor.prewarm.connection import Interruption
from torpor.prewarm.failure import FetchFailure, ObjectChanged
from torpor.prewarm.store import Session

MIB = 1024 * 1024
PART_BYTES = 16 * MIB
"""One request's worth: large enough that the requests do not count, small enough to hold several in memory."""

MOST_PARTS = 10_000
"""S3's own limit."""


class UploadGone(FetchFailure):
    """Somebody else completed or aborted the upload: look at the object again."""

    def __init__(self, thing: str) -> None:
        super().__init__(
            FetchReason.CHANGED,
            f"the upload of {thing} was ended by another process",
            retryable=True,
        )


class Begun(NamedTuple):
    """An upload that the store knows."""

    key: str
    """Relative to the prefix."""
    id: str
    initiated: str
    """RFC 3339, as the store says."""


class Piece(NamedTuple):
    """A part that the store has."""

    etag: str
    size: int
    crc64: str
    """Base64, empty where the store keeps none."""


def part_bytes_of(size: int) -> int:
    """Bytes of a part of an object of `size` bytes: always the same, so that whoever comes later can continue."""
    least = -(-size // MOST_PARTS)
    return max(PART_BYTES, -(-least // MIB) * MIB)


def find_uploads(session: Session, below: str = "") -> list[Begun]:
    """Uploads that were begun and not ended, of keys that start with `below`; none where that may not be asked."""
    prefix = session.address.prefix
    target = _target(session, "", {"encoding-type": "url", "prefix": prefix + below, "uploads": ""})
    try:
        root = _parse(session.patiently(lambda: session.exchange("GET", target, None)))
    except Interruption:
        raise
    except FetchFailure:
        return []
    encoded = _text(root, "EncodingType") == "url"
    found: list[Begun] = []
    for entry in root.iterfind("{*}Upload"):
        key = _text(entry, "Key")
        key = unquote_plus(key) if encoded else key
        if key.startswith(prefix + below):
            name = key.removeprefix(prefix)
            found.append(Begun(name, _text(entry, "UploadId"), _text(entry, "Initiated")))
    return found


def abort(session: Session, begun: Begun) -> None:
    """Give an upload up, so that the store forgets its parts; a failure is not told: it is tried again next time."""
    target = _target(session, begun.key, {"uploadId": begun.id})
    try:
        session.exchange("DELETE", target, begun.key, act="write")
    except FetchFailure:
        return


class Upload:
    """One multipart upload; its parts may be put by several threads, each with a session of its own."""

    def __init__(
        self, thing: str, key: str, upload_id: str, pieces: dict[int, Piece], *, checked: bool
    ) -> None:
        self.id = upload_id
        self.key = key
        self._thing = thing
        self._pieces = pieces
        self._checked = checked
        self._lock = threading.Lock()

    @classmethod
    def begin(cls, session: Session, key: str) -> "Upload":
        """Begin one, with a checksum of the whole object if the store takes that.

        Raises:
            FetchFailure: no connection, or no right to write.
        """
        target = _target(session, key, {"uploads": ""})
        wished = {"x-amz-checksum-algorithm": "CRC64NVME", "x-amz-checksum-type": "FULL_OBJECT"}
        try:
            answer, checked = _begin(session, target, key, wished), True
        except FetchFailure as error:
            if error.reason != FetchReason.INTERNAL:
                raise
            answer, checked = _begin(session, target, key, {}), False
        upload_id = _text(_parse(answer), "UploadId")
        return cls(session.address.source + key, key, upload_id, {}, checked=checked)

    @classmethod
    def resume(cls, session: Session, begun: Begun) -> "Upload":
        """Continue one from the parts that the store has.

        Raises:
            UploadGone: it was ended meanwhile.
            FetchFailure: no connection, or no right to.
        """
        thing = session.address.source + begun.key
        pieces: dict[int, Piece] = {}
        marker, more, algorithm = "0", True, ""
        while more:
            query = {"part-number-marker": marker, "uploadId": begun.id}
            target = _target(session, begun.key, query)
            try:
                root = _parse(session.patiently(_asking(session, target, begun.key)))
            except ObjectChanged:
                raise UploadGone(thing) from None
            for entry in root.iterfind("{*}Part"):
                number, size = int(_text(entry, "PartNumber")), int(_text(entry, "Size"))
                crc64 = _text(entry, "ChecksumCRC64NVME")
                pieces[number] = Piece(_text(entry, "ETag").strip('"'), size, crc64)
            algorithm = _text(root, "ChecksumAlgorithm") or algorithm
            previous, marker = marker, _text(root, "NextPartNumberMarker")
            more = _text(root, "IsTruncated") == "true" and marker not in ("", previous)
        if (
            algorithm == "CRC64NVME"
        ):  # then it can be completed with the checksums of all parts only
            pieces = {number: piece for number, piece in pieces.items() if piece.crc64}
        checked = algorithm == "CRC64NVME" or (
            bool(pieces) and all(piece.crc64 for piece in pieces.values())
        )
        return cls(thing, begun.key, begun.id, pieces, checked=checked)

    @property
    def is_empty(self) -> bool:
        """Whether the store has no part of it."""
        return not self._pieces

    def has(self, number: int, size: int) -> bool:
        """Whether the store has this part, with this size."""
        piece = self._pieces.get(number)
        return piece is not None and piece.size == size

    def put_part(self, session: Session, number: int, data: bytes | memoryview) -> None:
        """Put one part, with a few tries; parts but the last must have the same size.

        Raises:
            UploadGone: it was ended meanwhile.
            FetchFailure: no connection, or no right to write.
        """
        target = _target(session, self.key, {"partNumber": str(number), "uploadId": self.id})
        crc64 = crc64_base64(data)
        headers = {"x-amz-checksum-crc64nvme": crc64} if self._checked else md5_header(data)
        try:
            etag = session.patiently(lambda: session.put(target, self.key, headers, data))
        except ObjectChanged:
            raise UploadGone(self._thing) from None
        with self._lock:
            self._pieces[number] = Piece(etag, len(data), crc64)

    def complete(self, session: Session) -> str:
        """Make the object of the parts; returns its ETag.

        Raises:
            UploadGone: it was ended meanwhile, or its parts are not those that were put.
            FetchFailure: no connection, or no right to write.
        """
        pieces = sorted(self._pieces.items())
        headers: dict[str, str] = {}
        if self._checked:
            values = [(_read_base64(piece.crc64), piece.size) for _, piece in pieces]
            whole = proof.combine("crc64nvme", values)
            headers["x-amz-checksum-crc64nvme"] = _format_base64(whole)
            headers["x-amz-checksum-type"] = "FULL_OBJECT"
        body = "".join(_describe(number, piece, self._checked) for number, piece in pieces)
        document = f"<CompleteMultipartUpload>{body}</CompleteMultipartUpload>".encode()
        target = _target(session, self.key, {"uploadId": self.id})
        try:
            root = session.patiently(
                lambda: _complete(session, target, self.key, headers, document)
            )
        except ObjectChanged:
            raise UploadGone(self._thing) from None
        except FetchFailure as error:
            if "InvalidPart" in error.message:
                raise UploadGone(self._thing) from error
            raise
        return _text(root, "ETag").strip('"')


def md5_header(data: bytes | memoryview) -> dict[str, str]:
    """What a request says of its body to a store that does not take CRC64NVME."""
    digest = hashlib.md5(data, usedforsecurity=False).digest()
    return {"Content-MD5": base64.b64encode(digest).decode()}


def crc64_base64(data: bytes | memoryview) -> str:
    """CRC64NVME as S3 writes it."""
    return _format_base64(proof.sum_piece("crc64nvme", memoryview(data)).crc64nvme)


def _begin(session: Session, target: str, key: str, headers: dict[str, str]) -> bytes:
    return session.patiently(
        lambda: session.exchange("POST", target, key, headers, b"", act="write")
    )


def _complete(
    session: Session, target: str, key: str, headers: dict[str, str], document: bytes
) -> ElementTree.Element:
    """A store that takes long says 200 at once and an error, if any, in the body."""
    root = _parse(session.exchange("POST", target, key, headers, document, act="write"))
    if root.tag.rpartition("}")[2] == "Error":
        code = _text(root, "Code")
        raise Interruption(f"{session.address.endpoint} could not complete {key} ({code})")
    return root


def _asking(session: Session, target: str, key: str) -> Callable[[], bytes]:
    return lambda: session.exchange("GET", target, key, act="write")


def _target(session: Session, key: str, query: dict[str, str]) -> str:
    address = session.address
    path = address.object_target(key) if key else address.root or "/"
    return f"{path}?{urlencode(sorted(query.items()), quote_via=quote, safe='-_.~')}"


def _describe(number: int, piece: Piece, checked: bool) -> str:
    crc64 = f"<ChecksumCRC64NVME>{piece.crc64}</ChecksumCRC64NVME>" if checked else ""
    return f"<Part>{crc64}<ETag>{escape(piece.etag)}</ETag><PartNumber>{number}</PartNumber></Part>"


def _parse(body: bytes) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(body)
    except ElementTree.ParseError:
        raise Interruption("the S3 server's answer about an upload is not XML") from None


def _text(element: ElementTree.Element, name: str) -> str:
    return element.findtext(f"{{*}}{name}") or ""


def _format_base64(value: int) -> str:
    return base64.b64encode(value.to_bytes(8, "big")).decode()


def _read_base64(text: str) -> int:
    return int.from_bytes(base64.b64decode(text), "big")
