"""https: the authority that was given is trusted, beside the system's; else endpoint and authority are named."""

from pathlib import Path

import pytest

from tests.prewarm.conftest import Prewarm, Secured
from tests.prewarm.s3server import Bucket, make_certificates


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
