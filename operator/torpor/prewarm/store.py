"""The bucket as the fetch sees it: list a prefix, ask for an object's proof, read ranges. One session per thread."""

import hashlib
import http.client
from collections.abc import Callable, Generator
from typing import TypeVar

from torpor.domain.fetching import MOST_FILES, FetchReason, Part, RemoteFile
from torpor.domain.pieces import cut_pieces
from torpor.prewarm.address import Address, read_address
from torpor.prewarm.answers import Asked, explain_refusal
from torpor.prewarm.body import Arrived
from torpor.prewarm.body import Body as AnswerBody
from torpor.prewarm.connection import Body, Connection, Interruption, interrupted
from torpor.prewarm.contents import (
    After,
    Proof,
    check_etag,
    check_range,
    parse_listing,
    read_proof,
)
from torpor.prewarm.failure import FetchFailure, ObjectChanged
from torpor.prewarm.patience import Patience
from torpor.prewarm.signing import EMPTY_PAYLOAD, UNSIGNED_PAYLOAD, Signer
from torpor.prewarm.trust import Trust, build_trust
from torpor.settings.prewarm import PrewarmSettings

MOST_LIST_BYTES = 16 * 1024 * 1024
"""A page of a thousand keys is below 2 MiB; more is not a listing."""

Result = TypeVar("Result")


class Store:
    """Where the weights come from; makes sessions."""

    def __init__(self, settings: PrewarmSettings) -> None:
        """Read address, authorities and credentials.

        Raises:
            FetchFailure: one of them cannot be used.
        """
        self.address: Address = read_address(
            settings.source, settings.endpoint, settings.region, path_style=settings.path_style
        )
        self._trust: Trust | None = (
            build_trust(settings.ca_file) if self.address.scheme == "https" else None
        )
        self._signer = Signer(settings)

    def session(self) -> "Session":
        """Open a session, for use by one thread."""
        return Session(self.address, Connection(self.address, self._trust), self._signer)


class Session:
    """Signed requests over one connection."""

    def __init__(self, address: Address, connection: Connection, signer: Signer) -> None:
        self._address = address
        self._connection = connection
        self._signer = signer

    @property
    def address(self) -> Address:
        """Where it leads."""
        return self._address

    def close(self) -> None:
        """Drop the connection."""
        self._connection.close()

    def interrupt(self) -> None:
        """Make a read in another thread fail now."""
        self._connection.interrupt()

    def list_files(self) -> list[RemoteFile]:
        """List everything under the prefix; stops one page after more files than a checkpoint has.

        Raises:
            FetchFailure: no connection, no permission, no bucket, or an answer that is no listing.
        """
        files: list[RemoteFile] = []
        seen: set[After] = set()
        after: After | None = After("", "")
        while after is not None and len(files) <= MOST_FILES:
            if after in seen:
                raise FetchFailure(
                    FetchReason.UNREACHABLE,
                    f"{self._address.endpoint} answers the same page of the listing again and again: is it S3?",
                )
            seen.add(after)
            target = self._address.list_target(after.token, after.key)
            body = self.patiently(lambda: self.exchange("GET", target, None))  # noqa: B023  # called at once
            page, after = parse_listing(self._address, body)
            files += page
        return files

    def prove(self, file: RemoteFile) -> Proof:
        """Ask for the checksums of an object.

        Raises:
            ObjectChanged: it is not the listed one any more.
            FetchFailure: no connection or no permission.
        """
        return self.patiently(lambda: self._head(file))

    def read(self, file: RemoteFile, offset: int, length: int) -> bytes:
        """Read a small range into memory, with retries.

        Raises:
            FetchFailure: as `read_into`.
        """
        buffer = bytearray(length)
        part = Part(file.key, offset, length)
        self.patiently(lambda: self.read_into(file, part, memoryview(buffer), lambda _: None))
        return bytes(buffer)

    def read_into(self, file: RemoteFile, part: Part, buffer: memoryview, arrived: Arrived) -> None:
        """Fill the buffer's first `part.length` bytes with the part; as `read_pieces`, in one piece."""
        for _ in self.read_pieces(file, part, part.length, lambda: buffer, arrived):
            pass

    def read_pieces(
        self,
        file: RemoteFile,
        part: Part,
        piece_bytes: int,
        buffer: Callable[[], memoryview],
        arrived: Arrived,
    ) -> Generator[Part, None, None]:
        """Ask for the part in one request, without retries; yields each piece when a buffer holds it.

        `buffer` gives the memory for the next one. `arrived` sees the bytes as they come; what it raises ends the read.
        A reader that goes away early costs the connection, since the rest of the answer is still on its way.

        Raises:
            Interruption: the answer did not come, not whole, or is not exactly this range.
            ObjectChanged: the object is not the listed one any more.
            FetchFailure: no permission, or a certificate that is not trusted.
        """
        if part.length == 0:
            return
        last = part.offset + part.length - 1
        headers = {"If-Match": f'"{file.etag}"', "Range": f"bytes={part.offset}-{last}"}
        try:
            response = self._ask("GET", file, headers)
            check_range(self._address, file, part, response)
            body = AnswerBody(self._address, response, self._connection.socket, part.length)
            for piece in cut_pieces(part, piece_bytes):
                body.fill(buffer()[: piece.length], arrived)
                if piece.offset + piece.length > last:
                    body.finish()
                yield piece
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise interrupted(self._address, error) from error
        except BaseException:
            self.close()
            raise

    def read_object(self, key: str, most_bytes: int) -> bytes | None:
        """Read a small object by its key; None if there is none.

        Raises:
            FetchFailure: no connection, no permission, or more than `most_bytes`.
        """
        target = self._address.object_target(key)
        try:
            body = self.patiently(lambda: self.exchange("GET", target, key, most_bytes=most_bytes))
        except ObjectChanged:
            return None
        if len(body) > most_bytes:
            raise FetchFailure(
                FetchReason.INTERNAL,
                f"{self._address.source}{key} has more than {most_bytes} bytes, which is not expected there",
            )
        return body

    def find(self, key: str) -> RemoteFile | None:
        """Look one object up; None if there is none.

        Raises:
            FetchFailure: no connection or no permission.
        """
        target = self._address.object_target(key)

        def ask() -> RemoteFile:
            response = self._send("HEAD", target, {}, key)
            response.read()
            size = int(response.headers.get("Content-Length", "-1"))
            return RemoteFile(key, size, response.headers.get("ETag", "").strip('"'))

        try:
            return self.patiently(ask)
        except ObjectChanged:
            return None

    def exchange(
        self,
        method: str,
        target: str,
        key: str | None,
        headers: dict[str, str] | None = None,
        body: Body = None,
        *,
        act: str = "",
        most_bytes: int = MOST_LIST_BYTES,
    ) -> bytes:
        """Send one request and read its answer, at most one byte more than `most_bytes`; no retries.

        `act` names what is done, for the sentence about a missing right: `list`, `read` or `write`.

        Raises:
            Interruption: no answer, or not a whole one.
            ObjectChanged: `key` is not there.
            FetchFailure: the store refuses.
        """
        response = self._send(method, target, headers or {}, key, body, act)
        try:
            answer = response.read(most_bytes + 1)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise interrupted(self._address, error) from error
        if len(answer) > most_bytes:
            self.close()
        return answer

    def put(self, target: str, key: str, headers: dict[str, str], data: bytes | memoryview) -> str:
        """Send an object or a part of one; returns the ETag that the store gave it. No retries.

        Raises:
            FetchFailure: as `exchange`.
        """
        response = self._send("PUT", target, headers, key, data, "write")
        try:
            response.read(MOST_LIST_BYTES)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise interrupted(self._address, error) from error
        return response.headers.get("ETag", "").strip('"')

    def patiently(self, act: Callable[[], Result]) -> Result:
        """Repeat what was interrupted a few times: a person waits for this answer."""
        patience = Patience(attempts=3, first_seconds=0.2)
        while True:
            try:
                return act()
            except Interruption as error:
                patience.wait_after(error)

    def _head(self, file: RemoteFile) -> Proof:
        headers = {"If-Match": f'"{file.etag}"', "x-amz-checksum-mode": "ENABLED"}
        response = self._ask("HEAD", file, headers)
        response.read()
        check_etag(self._address, file, response)
        return read_proof(file, response.headers)

    def _ask(
        self, method: str, file: RemoteFile, headers: dict[str, str]
    ) -> http.client.HTTPResponse:
        return self._send(method, self._address.object_target(file.key), headers, file.key)

    def _send(
        self,
        method: str,
        target: str,
        headers: dict[str, str],
        key: str | None,
        body: Body = None,
        act: str = "",
    ) -> http.client.HTTPResponse:
        signed = self._signer.sign(
            method,
            self._address.origin + target,
            {**headers, "Accept-Encoding": "identity"},
            self._sum_payload(body),
        )
        response = self._connection.request(method, target, signed, body)
        if response.status in (200, 204, 206):
            return response
        act = act or ("list" if key is None else "read")
        asked = Asked(self._address, self._signer.access_key, self._signer.region, key, act)
        failure = explain_refusal(asked, response)
        self.close()
        raise failure

    def _sum_payload(self, body: Body) -> str:
        """Sign the body where nothing else protects it on its way."""
        if not body:
            return EMPTY_PAYLOAD
        if self._address.scheme == "https":
            return UNSIGNED_PAYLOAD
        return hashlib.sha256(body).hexdigest()
