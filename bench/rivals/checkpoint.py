"""A checkpoint of random bytes with valid headers, uploaded as every client uploads large files: in parts.

So its ETags are no MD5, and what proves the bytes is the CRC64NVME of the whole object, which the server
computes too and refuses an upload for.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from typing import Any

import botocore.session
from awscrt import checksums
from botocore.config import Config

from bench.rivals.target import Target
from dev.cluster import HarnessError

MIB = 1 << 20
UPLOAD_PART = 64 * MIB
CONFIG = b'{"architectures": ["LlamaForCausalLM"], "model_type": "llama"}\n'


def shard_names(count: int) -> list[str]:
    """Names as the Hub's tools give them."""
    return [f"model-{at:05d}-of-{count:05d}.safetensors" for at in range(1, count + 1)]


def header(tensor: str, size: int) -> bytes:
    """Return the head of a safetensors file of `size` bytes with one tensor, whose offsets then fit exactly."""
    length = 256
    entry = {"dtype": "U8", "shape": [size - length], "data_offsets": [0, size - length]}
    text = json.dumps({"__metadata__": {"format": "pt"}, tensor: entry}).encode()
    return (length - 8).to_bytes(8, "little") + text.ljust(length - 8)


def pieces(tensor: str, size: int) -> Iterator[bytes]:
    """Yield a file of exactly `size` bytes in the pieces that are uploaded."""
    head = header(tensor, size)
    for offset in range(0, size, UPLOAD_PART):
        length = min(UPLOAD_PART, size - offset)
        yield head + os.urandom(length - len(head)) if offset == 0 else os.urandom(length)


def upload(target: Target, shards: int, shard_bytes: int) -> dict[str, int]:
    """Make and upload the checkpoint; returns bytes by name.

    Raises:
        HarnessError: the server does not keep a checksum over the whole object.
    """
    client = connect(target)
    client.create_bucket(Bucket=target.bucket)
    names = shard_names(shards)
    index = {"metadata": {}, "weight_map": {f"t{at}": name for at, name in enumerate(names)}}
    small = {"config.json": CONFIG, "model.safetensors.index.json": json.dumps(index).encode()}
    for name, body in small.items():
        client.put_object(
            Bucket=target.bucket,
            Key=target.prefix + name,
            Body=body,
            ChecksumCRC64NVME=_encode(checksums.crc64nvme(body)),
        )
    for at, name in enumerate(names):
        _upload_in_parts(client, target, name, pieces(f"t{at}", shard_bytes))
    sizes = dict.fromkeys(names, shard_bytes)
    return {**{name: len(body) for name, body in small.items()}, **sizes}


def connect(target: Target) -> Any:
    """Return botocore's client for the server."""
    return botocore.session.Session().create_client(
        "s3",
        region_name=target.region,
        endpoint_url=target.endpoint,
        aws_access_key_id=target.account.access_key,
        aws_secret_access_key=target.account.secret_key,
        config=Config(
            s3={"addressing_style": "path", "payload_signing_enabled": False},
            request_checksum_calculation="when_required",
        ),
    )


def _upload_in_parts(client: Any, target: Target, name: str, parts: Iterator[bytes]) -> None:
    place = {"Bucket": target.bucket, "Key": target.prefix + name}
    begun = client.create_multipart_upload(
        **place, ChecksumAlgorithm="CRC64NVME", ChecksumType="FULL_OBJECT"
    )
    upload_id, whole, done = begun["UploadId"], 0, []
    for number, body in enumerate(parts, 1):
        whole = checksums.crc64nvme(body, whole)
        own = _encode(checksums.crc64nvme(body))
        told = client.upload_part(
            **place, UploadId=upload_id, PartNumber=number, Body=body, ChecksumCRC64NVME=own
        )
        done.append({"PartNumber": number, "ETag": told["ETag"], "ChecksumCRC64NVME": own})
    client.complete_multipart_upload(
        **place,
        UploadId=upload_id,
        MultipartUpload={"Parts": done},
        ChecksumType="FULL_OBJECT",
        ChecksumCRC64NVME=_encode(whole),
    )
    kept = client.head_object(**place, ChecksumMode="ENABLED")
    if (kept.get("ChecksumCRC64NVME"), kept.get("ChecksumType")) != (
        _encode(whole),
        "FULL_OBJECT",
    ):
        raise HarnessError(
            f"{target.server} keeps {kept.get('ChecksumType')} {kept.get('ChecksumCRC64NVME')} for {name}, "
            f"not the CRC64NVME {_encode(whole)} of the whole object"
        )


def _encode(value: int) -> str:
    return base64.b64encode(value.to_bytes(8, "big")).decode()
