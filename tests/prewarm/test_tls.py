"""https: the authority that was given is trusted, beside the system's; else endpoint and authority are named."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.frame.relay import Relay
from tests.prewarm.conftest import PART, Prewarm, Secured
from tests.prewarm.s3server import Bucket, make_certificates
from torpor.prewarm.receiving import set_looks
from torpor.prewarm.tls import TlsLink


@pytest.fixture
def secure(prewarm: Prewarm, s3_tls: Secured) -> Prewarm:
    prewarm.settings = prewarm.settings._replace(endpoint=s3_tls.server.endpoint)
    return prewarm


def test_weights_come_over_tls_when_the_authority_is_given(
    secure: Prewarm, s3_tls: Secured, bucket: Bucket
) -> None:
    files = bucket.put_checkpoint("llama/")
    result = secure.run("fetch", ca_file=str(s3_tls.authority))
    assert result["reason"] == "Ready"
    secure.assert_holds(result, files)


def test_the_server_s_own_certificate_may_be_given_as_the_authority(
    secure: Prewarm, s3_tls: Secured, bucket: Bucket
) -> None:
    bucket.put_checkpoint("llama/")
    assert s3_tls.server.certificate is not None
    result = secure.run("preflight", ca_file=str(s3_tls.server.certificate[0]))
    assert result["reason"] == "Listed"


def test_without_an_authority_the_field_to_set_is_named(secure: Prewarm) -> None:
    result = secure.run("preflight")
    assert (result["reason"], result["retryable"]) == ("WeightsTLSUntrusted", False)
    assert f"the certificate of {secure.settings.endpoint} is not trusted" in result["message"]
    assert "spec.model.s3.caRef" in result["message"]


def test_a_wrong_authority_is_named_by_its_subject(secure: Prewarm, tmp_path: Path) -> None:
    other, _ = make_certificates(tmp_path / "other")
    result = secure.run("preflight", ca_file=str(other))
    assert (result["reason"], result["retryable"]) == ("WeightsTLSUntrusted", False)
    assert secure.settings.endpoint in result["message"]
    assert "'O=torpor tests, CN=tests authority'" in result["message"]


@pytest.mark.parametrize("content", [None, "not a certificate\n"], ids=["absent", "not PEM"])
def test_an_authority_that_cannot_be_read_is_named(
    content: str | None, secure: Prewarm, tmp_path: Path
) -> None:
    path = tmp_path / "ca.crt"
    if content is not None:
        path.write_text(content)
    result = secure.run("preflight", ca_file=str(path))
    assert result["reason"] == "WeightsTLSUntrusted"
    assert "ca.crt of spec.model.s3.caRef cannot be read as PEM" in result["message"]


def test_a_name_the_certificate_does_not_have_is_named(secure: Prewarm, s3_tls: Secured) -> None:
    endpoint = f"https://localhost:{s3_tls.server.port}"
    result = secure.run("preflight", endpoint=endpoint, ca_file=str(s3_tls.authority))
    assert result["reason"] == "WeightsTLSUntrusted"
    assert "'localhost'" in result["message"]


def test_https_to_a_plain_port_says_so(prewarm: Prewarm, bucket: Bucket) -> None:
    endpoint = bucket.server.endpoint.replace("http://", "https://")
    result = prewarm.run("preflight", endpoint=endpoint)
    assert result["reason"] == "WeightsUnreachable"
    assert "does not speak TLS; the S3 endpoint is probably http://" in result["message"]


def test_http_to_a_tls_port_says_so(secure: Prewarm) -> None:
    endpoint = secure.settings.endpoint.replace("https://", "http://")
    result = secure.run("preflight", endpoint=endpoint)
    assert result["reason"] == "WeightsUnreachable"
    assert "is it an https port?" in result["message"]


@pytest.mark.parametrize("processes", [1, 2])
def test_ranges_of_many_records_come_whole_over_tls(
    processes: int, secure: Prewarm, s3_tls: Secured, bucket: Bucket
) -> None:
    """Pieces of several megabytes, records of a few kilobytes, and connections that are used again."""
    files = bucket.put_checkpoint("llama/", shard_bytes=9 * 1024 * 1024 + 77)
    result = secure.run(
        "fetch",
        ca_file=str(s3_tls.authority),
        part_bytes=4 * 1024 * 1024,
        connections=2,
        processes=processes,
    )
    assert (result["reason"], result["verified"]) == ("Ready", "crc64nvme")
    secure.assert_holds(result, files)


def test_a_tls_connection_that_is_cut_in_the_middle_is_an_interruption(
    secure: Prewarm, s3_tls: Secured, bucket: Bucket
) -> None:
    """The cut falls between two records or into one: neither may be taken for the end of the answer."""
    files = bucket.put_checkpoint("llama/", shard_bytes=40 * PART)
    with Relay(s3_tls.server.port, cut_after=900_001) as relay:
        result = secure.run(
            "fetch",
            endpoint=f"https://127.0.0.1:{relay.port}",
            ca_file=str(s3_tls.authority),
            part_attempts=10,
            connections=2,
        )
    assert relay.cuts >= 2
    secure.assert_holds(result, files)


@contextlib.contextmanager
def linked(folder: Path, speak: Callable[[ssl.SSLSocket], None]) -> Iterator[TlsLink]:
    """A link to a peer that does as `speak` says once hands are shaken."""
    authority, (certificate, key) = make_certificates(folder / "pki")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    ours, theirs = socket.socketpair()

    def serve() -> None:
        with context.wrap_socket(theirs, server_side=True) as peer:
            speak(peer)

    thread = threading.Thread(target=serve)
    thread.start()
    link = TlsLink(ours, ssl.create_default_context(cafile=str(authority)), "127.0.0.1")
    set_looks(ours)
    try:
        yield link
    finally:
        link.close()
        thread.join(10)


def test_a_slow_peer_s_bytes_are_handed_over_before_all_are_there(tmp_path: Path) -> None:
    read = threading.Event()

    def send_in_two_steps(peer: ssl.SSLSocket) -> None:
        peer.sendall(bytes(100_000))
        if read.wait(10):
            peer.sendall(bytes(100_000))

    with linked(tmp_path, send_in_two_steps) as link:
        assert link.read_into(memoryview(bytearray(200_000)), 200_000) == 100_000
        read.set()
        assert link.read_into(memoryview(bytearray(100_000)), 100_000) == 100_000


def test_a_peer_that_says_goodbye_early_ends_the_read_with_what_there_was(
    tmp_path: Path,
) -> None:
    def say_goodbye(peer: ssl.SSLSocket) -> None:
        peer.sendall(bytes(1000))
        with contextlib.suppress(OSError):
            peer.unwrap()

    with linked(tmp_path, say_goodbye) as link:
        assert link.read_into(memoryview(bytearray(2000)), 2000) == 1000
        assert link.makefile("rb").read(1) == b""
