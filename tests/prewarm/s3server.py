"""A real S3 server (versitygw) on a port of its own, and what the tests put into it."""

import base64
import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import botocore.session
from awscrt import checksums
from botocore.config import Config

from dev.ports import free_port

REPO = Path(__file__).parents[2]
OWNER = ("torpor-owner", "owner-secret-0123456789")
STRANGER = ("torpor-stranger", "stranger-secret-0123456789")


def find_versitygw() -> str:
    """Path of the server; the harness builds it when the cache has none."""
    given = os.environ.get("TORPOR_VERSITYGW")
    if given:
        return given
    command = [sys.executable, "-m", "dev.cluster", "program", "versitygw"]
    printed = subprocess.run(command, cwd=REPO, check=True, stdout=subprocess.PIPE, text=True)
    return printed.stdout.splitlines()[-1]


@dataclass
class Server:
    """One listener of versitygw; several may share a data folder."""

    folder: Path
    certificate: tuple[Path, Path] | None = None
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    _client: Any = field(default=None, repr=False)

    @property
    def endpoint(self) -> str:
        return f"{'https' if self.certificate else 'http'}://127.0.0.1:{self.port}"

    def start(self) -> None:
        data, iam = self.folder / "data", self.folder / "iam"
        data.mkdir(parents=True, exist_ok=True)
        iam.mkdir(parents=True, exist_ok=True)
        arguments = [f"--port=127.0.0.1:{self.port}", f"--iam-dir={iam}", "--quiet", "--keep-alive"]
        arguments += ["--region=us-east-1", "--iam-cache-disable"]
        if self.certificate:
            arguments += [f"--cert={self.certificate[0]}", f"--key={self.certificate[1]}"]
        log = (self.folder / f"server-{self.port}.log").open("wb")
        environment = {"ROOT_ACCESS_KEY_ID": OWNER[0], "ROOT_SECRET_ACCESS_KEY": OWNER[1]}
        command = [find_versitygw(), *arguments, "posix", str(data)]
        self.process = subprocess.Popen(
            command, env=os.environ | environment, stdout=log, stderr=log
        )
        log.close()
        wait_for_port(self.port, self.process)

    def stop(self) -> None:
        if self._client is not None:
            self._client.close()
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)

    def client(self) -> Any:
        """The reference client, for what the tests need done in the bucket."""
        if self._client is None:
            self._client = self._make_client()
        return self._client

    def _make_client(self) -> Any:
        session = botocore.session.Session()
        return session.create_client(
            "s3",
            region_name="us-east-1",
            endpoint_url=self.endpoint,
            aws_access_key_id=OWNER[0],
            aws_secret_access_key=OWNER[1],
            config=Config(
                s3={"addressing_style": "path"}, request_checksum_calculation="when_required"
            ),
        )


def wait_for_port(port: int, process: subprocess.Popen[bytes], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert process.poll() is None, "the server exited"
            assert time.monotonic() < deadline, "the server does not listen"
            time.sleep(0.02)


def safetensors(data: bytes) -> bytes:
    """A valid file whose tensors' bytes are `data`, in two tensors."""
    half = len(data) // 2
    header = json.dumps(
        {
            "__metadata__": {"format": "pt"},
            "a": {"dtype": "U8", "shape": [half], "data_offsets": [0, half]},
            "b": {"dtype": "U8", "shape": [len(data) - half], "data_offsets": [half, len(data)]},
        }
    ).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data


@dataclass
class Bucket:
    """A bucket, and checkpoints in it."""

    server: Server
    name: str

    def put(self, key: str, body: bytes, *, checksum: str | None = "crc64nvme") -> None:
        """Upload one object in one piece; `checksum` None makes the store forget the one it computed."""
        extra: dict[str, str] = {}
        if checksum is not None:
            compute = getattr(checksums, checksum)
            size = 8 if checksum == "crc64nvme" else 4
            argument = "Checksum" + checksum.upper()
            extra[argument] = base64.b64encode(compute(body).to_bytes(size, "big")).decode()
        self.server.client().put_object(Bucket=self.name, Key=key, Body=body, **extra)
        if checksum is None:
            self.forget_checksum(key)

    def put_in_parts(self, key: str, pieces: list[bytes]) -> None:
        """Upload as a multipart object without a checksum: its ETag is no MD5."""
        client, place = self.server.client(), {"Bucket": self.name, "Key": key}
        upload = client.create_multipart_upload(**place)["UploadId"]
        parts = [
            {
                "PartNumber": number,
                "ETag": client.upload_part(**place, UploadId=upload, PartNumber=number, Body=piece)[
                    "ETag"
                ],
            }
            for number, piece in enumerate(pieces, 1)
        ]
        client.complete_multipart_upload(**place, UploadId=upload, MultipartUpload={"Parts": parts})
        self.forget_checksum(key)

    def put_checkpoint(
        self, prefix: str, *, shard_bytes: int = 200_000, checksum: str | None = "crc64nvme"
    ) -> dict[str, bytes]:
        """Upload a small checkpoint of two shards; returns content by relative key."""
        shards = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
        files = {name: safetensors(os.urandom(shard_bytes)) for name in shards}
        index = {"metadata": {}, "weight_map": {"a": shards[0], "b": shards[1]}}
        files["model.safetensors.index.json"] = json.dumps(index).encode()
        files["config.json"] = b'{"architectures": ["LlamaForCausalLM"]}'
        files["tokenizer/näme with +%&.json"] = b"{}"
        files["empty.txt"] = b""
        for key, body in files.items():
            self.put(prefix + key, body, checksum=checksum)
        return files

    def file_behind(self, key: str) -> Path:
        """The file behind an object, to make the store lose or change bytes."""
        return self.server.folder / "data" / self.name / key

    def forget_checksum(self, key: str) -> None:
        """Become a store that keeps no checksums."""
        os.removexattr(self.file_behind(key), "user.checksums")


def make_certificates(folder: Path) -> tuple[Path, tuple[Path, Path]]:
    """An authority, and a certificate for 127.0.0.1 signed by it."""
    folder.mkdir(parents=True, exist_ok=True)
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    request = ["openssl", "req", "-x509", *curve]
    authority = [
        "-subj",
        "/O=torpor tests/CN=tests authority",
        "-keyout",
        "ca.key",
        "-out",
        "ca.crt",
    ]
    signed = ["-CA", "ca.crt", "-CAkey", "ca.key", "-addext", "basicConstraints=critical,CA:FALSE"]
    leaf = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    output = ["-keyout", "tls.key", "-out", "tls.crt"]
    for command in ([*request, *authority], [*request, *leaf, *signed, *output]):
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "ca.crt", (folder / "tls.crt", folder / "tls.key")
