"""A real S3 server, versitygw, on the bridge address: the same data over http and over https.

It has the two accounts that a test needs: the owner of every bucket, and a stranger whose
signature is right and who may read nothing. Keys are drawn at random once per state folder.
"""

from __future__ import annotations

import http.client
import json
import secrets
import shutil
import ssl
from dataclasses import dataclass
from pathlib import Path

from . import processes
from .commands import Argument, run, wait_until
from .places import HOST_IP, S3_PORT, S3_TLS_PORT, Places
from .programs import program_path

PROCESSES = ("s3-http", "s3-https")
REGION = "eu-central-1"
ENDPOINT = f"http://{HOST_IP}:{S3_PORT}"
TLS_ENDPOINT = f"https://{HOST_IP}:{S3_TLS_PORT}"


@dataclass(frozen=True)
class Account:
    """An S3 key pair."""

    access_key: str
    secret_key: str


@dataclass(frozen=True)
class Accounts:
    """The owner of all buckets, and a stranger with a valid signature and no rights."""

    owner: Account
    stranger: Account


def draw_account(prefix: str) -> Account:
    """A fresh key pair; the prefix only tells a reader whose it is."""
    return Account(prefix + secrets.token_hex(8).upper(), secrets.token_urlsafe(30))


def accounts(places: Places) -> Accounts:
    """The accounts of this state folder, drawn the first time."""
    kept = places.s3 / "accounts.json"
    if not kept.exists():
        drawn = {"owner": draw_account("OWNER"), "stranger": draw_account("STRANGER")}
        kept.parent.mkdir(parents=True, exist_ok=True)
        part = kept.with_suffix(".part")
        part.touch(mode=0o600)
        part.write_text(json.dumps({name: vars(account) for name, account in drawn.items()}))
        part.rename(kept)
    read = json.loads(kept.read_text())
    return Accounts(owner=Account(**read["owner"]), stranger=Account(**read["stranger"]))


def authority(places: Places) -> Path:
    """The certificate of the authority that signed the https listener's."""
    return places.s3 / "tls" / "ca.crt"


def make_tls(places: Places) -> None:
    """An authority of our own and a certificate for the bridge address, complete or absent."""
    final = places.s3 / "tls"
    if final.exists():
        return
    part = places.s3 / "tls.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True, mode=0o700)
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "3650"]
    authority_request = [
        *("openssl", "req", "-x509", *curve, "-subj", "/CN=torpor-dev S3 authority"),
        *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
        *("-keyout", "ca.key", "-out", "ca.crt"),
    ]
    run(authority_request, cwd=part)
    server_request = [
        *("openssl", "req", "-x509", *curve, "-subj", f"/CN={HOST_IP}"),
        *("-CA", "ca.crt", "-CAkey", "ca.key"),
        *("-addext", f"subjectAltName=IP:{HOST_IP}"),
        *("-addext", "basicConstraints=critical,CA:FALSE"),
        *("-addext", "extendedKeyUsage=serverAuth"),
        *("-keyout", "tls.key", "-out", "tls.crt"),
    ]
    run(server_request, cwd=part)
    part.rename(final)


def server_arguments(places: Places, *, tls: bool) -> list[str]:
    """Both listeners serve one data folder; versitygw locks files between processes.

    Connections are kept alive over http only. Over https the AWS clients upload in chunks with a
    checksum behind them, and versitygw 1.8 leaves the last bytes of such a body unread: one in
    five requests that follow on the same connection is then answered 400.
    """
    options = [
        f"--port={HOST_IP}:{S3_TLS_PORT if tls else S3_PORT}",
        f"--region={REGION}",
        f"--iam-dir={places.s3 / 'iam'}",
        "--iam-cache-ttl=2",
        "--health=/healthz",
        "--quiet",
    ]
    if tls:
        folder = places.s3 / "tls"
        options += [f"--cert={folder / 'tls.crt'}", f"--key={folder / 'tls.key'}"]
    else:
        options.append("--keep-alive")
    return [*options, "posix", str(places.s3 / "data")]


def answers(places: Places, *, tls: bool) -> bool:
    """Whether a listener answers its health question, trusted by our authority if https."""
    if tls and not authority(places).exists():
        return False
    connection: http.client.HTTPConnection
    if tls:
        trust = ssl.create_default_context(cafile=str(authority(places)))
        connection = http.client.HTTPSConnection(HOST_IP, S3_TLS_PORT, timeout=2, context=trust)
    else:
        connection = http.client.HTTPConnection(HOST_IP, S3_PORT, timeout=2)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def start_store(places: Places) -> None:
    """Both listeners, up to their word that they are well, and the stranger's account."""
    owner = accounts(places).owner
    make_tls(places)
    for folder in ("data", "iam"):
        (places.s3 / folder).mkdir(parents=True, exist_ok=True)
    env = {"ROOT_ACCESS_KEY_ID": owner.access_key, "ROOT_SECRET_ACCESS_KEY": owner.secret_key}
    gateway = program_path(places, "versitygw")
    for name, tls in (("s3-http", False), ("s3-https", True)):
        processes.start(places, name, [gateway, *server_arguments(places, tls=tls)], env=env)

        def well(name: str = name, tls: bool = tls) -> bool:
            processes.must_live(places, name)
            return answers(places, tls=tls)

        wait_until(f"{name} answers", well, timeout=20, every=0.05)
    _admit_stranger(places)


def _admit_stranger(places: Places) -> None:
    both = accounts(places)
    admin: list[Argument] = [
        *(program_path(places, "versitygw"), "admin", "--region", REGION),
        *("--endpoint-url", ENDPOINT),
        *("--access", both.owner.access_key, "--secret", both.owner.secret_key),
    ]
    if both.stranger.access_key in run([*admin, "list-users"]):
        return
    keys = ["--access", both.stranger.access_key, "--secret", both.stranger.secret_key]
    run([*admin, "create-user", *keys, "--role", "user"])
