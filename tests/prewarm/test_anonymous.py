"""Who asks: nobody (public buckets), a pod with an identity (web identity, through STS), or an expired session."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from tests.prewarm.conftest import Prewarm
from tests.prewarm.faultproxy import Asked, FaultProxy
from tests.prewarm.s3server import OWNER, Bucket


@pytest.fixture
def stranger(prewarm: Prewarm) -> Prewarm:
    prewarm.settings = prewarm.settings._replace(access_key="", secret_key="", anonymous=True)
    return prewarm


def open_to_everybody(bucket: Bucket, *actions: str) -> None:
    rule = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": list(actions),
        "Resource": [f"arn:aws:s3:::{bucket.name}", f"arn:aws:s3:::{bucket.name}/*"],
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [rule]})
    bucket.server.client().put_bucket_policy(Bucket=bucket.name, Policy=policy)


def test_a_public_bucket_is_read_without_credentials(stranger: Prewarm, bucket: Bucket) -> None:
    files = bucket.put_checkpoint("llama/")
    open_to_everybody(bucket, "s3:ListBucket", "s3:GetObject")
    with FaultProxy(bucket.server.port) as proxy:
        result = stranger.run("fetch", endpoint=proxy.endpoint)
    assert result["reason"] == "Ready", result
    stranger.assert_holds(result, files)
    assert all("Authorization" not in asked.headers for asked in proxy.asked)


def test_credentials_that_are_given_are_not_used_for_it(prewarm: Prewarm, bucket: Bucket) -> None:
    bucket.put_checkpoint("llama/")
    open_to_everybody(bucket, "s3:ListBucket", "s3:GetObject")
    result = prewarm.run("preflight", anonymous=True, secret_key="wrong")
    assert result["reason"] == "Listed"


def test_a_bucket_that_is_not_public_is_said_to_be_so(stranger: Prewarm, bucket: Bucket) -> None:
    bucket.put_checkpoint("llama/")
    result = stranger.run("preflight")
    assert (result["reason"], result["retryable"]) == ("WeightsAccessDenied", False)
    assert (
        f"the bucket {bucket.name} is not public: without credentials nobody may list"
        in (result["message"])
    )
    assert "spec.model.s3.secretRef" in result["message"]


def test_a_bucket_that_may_be_listed_but_not_read_by_everybody_is_told_apart(
    stranger: Prewarm, bucket: Bucket
) -> None:
    bucket.put_checkpoint("llama/")
    open_to_everybody(bucket, "s3:ListBucket")
    result = stranger.run("preflight")
    assert result["reason"] == "WeightsAccessDenied"
    assert "nobody may read s3://" in result["message"]
    assert "allow s3:GetObject to everybody" in result["message"]


@dataclass
class Sts:
    """A token service that changes a pod's token into keys, as AWS does for a service account."""

    answer: bytes = b""
    status: int = 200
    asked: list[dict[str, list[str]]] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def sts() -> Iterator[Sts]:
    service = Sts()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            service.asked.append(parse_qs(self.rfile.read(length).decode()))
            self.send_response(service.status)
            self.send_header("Content-Length", str(len(service.answer)))
            self.end_headers()
            self.wfile.write(service.answer)

        def log_message(self, *_: object) -> None:
            """Tests read `asked`."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    service.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield service
    server.shutdown()
    server.server_close()
    thread.join(5)


def take_token(asked: Asked) -> None:
    """The local server knows no sessions: see that there is a token, and pass on without."""
    assert "x-amz-security-token" in asked.headers["Authorization"]
    asked.sign_anew(without="x-amz-security-token")


def run_with_identity(
    prewarm: Prewarm, sts: Sts, endpoint: str = "", **more: str
) -> dict[str, Any]:
    """Run the program as a pod whose service account has a role: nothing else tells it who it is."""
    token = prewarm.folder / "token"
    token.write_text("token-of-the-pod")
    environ = prewarm.environ(
        access_key="", secret_key="", endpoint=endpoint or prewarm.settings.endpoint
    )
    environ = {name: value for name, value in environ.items() if value} | {
        "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/weights",
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(token),
        "AWS_ENDPOINT_URL_STS": sts.url,
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        **more,
    }
    command = [sys.executable, "-m", "torpor.prewarm", "preflight"]
    subprocess.run(command, env=environ, check=False, capture_output=True, timeout=60)
    result: dict[str, Any] = json.loads(Path(prewarm.settings.termination_log).read_text())
    return result


def test_a_service_account_with_a_role_needs_no_secret(
    prewarm: Prewarm, sts: Sts, bucket: Bucket
) -> None:
    bucket.put_checkpoint("llama/")
    sts.answer = (
        '<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
        "<AssumeRoleWithWebIdentityResult><Credentials>"
        f"<AccessKeyId>{OWNER[0]}</AccessKeyId><SecretAccessKey>{OWNER[1]}</SecretAccessKey>"
        "<SessionToken>session</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration>"
        "</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
    ).encode()
    with FaultProxy(bucket.server.port, before=take_token) as proxy:
        result = run_with_identity(prewarm, sts, proxy.endpoint)
    assert result["reason"] == "Listed", result
    (asked,) = sts.asked
    assert asked["WebIdentityToken"] == ["token-of-the-pod"]
    assert asked["RoleArn"] == ["arn:aws:iam::123456789012:role/weights"]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("ExpiredTokenException", "ExpiredTokenException"),
        ("AccessDenied", "AccessDenied"),
    ],
)
def test_a_role_that_is_refused_is_told_in_one_sentence(
    code: str, words: str, prewarm: Prewarm, sts: Sts
) -> None:
    sts.status = 400
    sts.answer = (
        '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>'
        f"<Code>{code}</Code><Message>Not you</Message></Error></ErrorResponse>"
    ).encode()
    result = run_with_identity(prewarm, sts)
    assert result["reason"] == "WeightsAccessDenied"
    assert "the S3 credentials of the pod's identity fail" in result["message"]
    assert words in result["message"]
    assert "token-of-the-pod" not in result["message"]


def test_neither_a_secret_nor_an_identity_says_what_is_missing(prewarm: Prewarm, sts: Sts) -> None:
    nobody = {"AWS_ROLE_ARN": "", "AWS_WEB_IDENTITY_TOKEN_FILE": "", "HOME": str(prewarm.folder)}
    result = run_with_identity(prewarm, sts, **nobody)
    assert result["reason"] == "WeightsAccessDenied"
    assert "there are no S3 credentials: the Secret of spec.model.s3.secretRef" in result["message"]


def test_the_token_of_a_session_goes_along_with_every_request(
    prewarm: Prewarm, bucket: Bucket
) -> None:
    bucket.put_checkpoint("llama/")
    seen: set[str] = set()

    def note(asked: Asked) -> None:
        seen.add(asked.headers["X-Amz-Security-Token"])
        take_token(asked)

    with FaultProxy(bucket.server.port, before=note) as proxy:
        result = prewarm.run("preflight", endpoint=proxy.endpoint, session_token="of-this-hour")
    assert (result["reason"], seen) == ("Listed", {"of-this-hour"})
