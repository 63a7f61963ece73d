"""A checkpoint made from nothing: the files of a Llama, its tensors noise, the same bytes each time."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

HIDDEN = 512
BYTES_PER_VALUE = 2
VALUE = "BF16"


def write_checkpoint(folder: Path, megabytes: int = 64, seed: str = "torpor") -> int:
    """Write config.json and a valid model.safetensors of about this size; returns the bytes of both.

    Another seed gives other bytes of the same size.
    """
    rows = max(1, megabytes * 1_000_000 // (2 * HIDDEN * BYTES_PER_VALUE))
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": HIDDEN,
        "intermediate_size": 4 * HIDDEN,
        "num_hidden_layers": 0,
        "num_attention_heads": 8,
        "num_key_value_heads": 8,
        "vocab_size": rows,
        "max_position_embeddings": 8192,
        "torch_dtype": "bfloat16",
    }
    shapes = {
        "lm_head.weight": [rows, HIDDEN],
        "model.embed_tokens.weight": [rows, HIDDEN],
        "model.norm.weight": [HIDDEN],
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    (folder / "model.safetensors").write_bytes(pack_tensors(shapes, seed))
    return sum(path.stat().st_size for path in folder.iterdir())


def pack_tensors(shapes: dict[str, list[int]], seed: str) -> bytes:
    """Return a safetensors file: header length, header, then each tensor's noise drawn from its name and the seed."""
    header: dict[str, object] = {}
    data = bytearray()
    for name, shape in shapes.items():
        size = BYTES_PER_VALUE
        for extent in shape:
            size *= extent
        header[name] = {
            "dtype": VALUE,
            "shape": shape,
            "data_offsets": [len(data), len(data) + size],
        }
        data += hashlib.shake_128(f"{seed}/{name}".encode()).digest(size)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + bytes(data)
