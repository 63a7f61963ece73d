"""What the tests of `hf://` put into the stand-in hub, and find in the bucket."""

import os

from tests.prewarm.s3server import Bucket, safetensors

REPO = "acme/tiny-llama"


def model_files(shard_bytes: int = 50_000) -> dict[str, bytes]:
    return {
        "config.json": b'{"architectures": ["LlamaForCausalLM"]}',
        "model.safetensors": safetensors(os.urandom(shard_bytes)),
        "tokenizer.model": os.urandom(3000),
        "sub dir/template+.jinja": b"{{ messages }}",
        "empty.txt": b"",
    }


UNNEEDED = {
    ".gitattributes": b"*.safetensors filter=lfs",
    "README.md": b"# a model",
    "pytorch_model.bin": b"the same, pickled",
    "original/consolidated.00.pth": b"again",
}


def in_bucket(bucket: Bucket, prefix: str) -> dict[str, bytes]:
    """Objects below the prefix, torpor's own left out."""
    client = bucket.server.client()
    listed = client.list_objects_v2(Bucket=bucket.name, Prefix=prefix).get("Contents", [])
    return {
        entry["Key"].removeprefix(prefix): client.get_object(Bucket=bucket.name, Key=entry["Key"])[
            "Body"
        ].read()
        for entry in listed
        if "/.torpor/" not in entry["Key"]
    }
