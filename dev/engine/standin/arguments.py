"""vLLM's command line, as far as torpor writes it; what the stand-in does not know it ignores aloud."""

import argparse
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
_SUFFIXES = {"k": 10**3, "K": 2**10, "m": 10**6, "M": 2**20}


@dataclass(frozen=True)
class Arguments:
    """The arguments that change what the stand-in does. Names are vLLM's."""

    model: Path
    served_model_name: tuple[str, ...]
    host: str | None = None
    port: int = 8000
    max_model_len: int | None = None
    quantization: str | None = None
    tensor_parallel_size: int = 1
    max_num_seqs: int = 256
    shutdown_timeout: int = 0
    enable_prompt_tokens_details: bool = False
    enable_force_include_usage: bool = False
    lora_modules: tuple[tuple[str, Path], ...] = ()
    """Adapters: the name that clients ask for, and the folder."""
    draft: Path | None = None
    """The folder of `--speculative-config`'s model."""
    unknown: tuple[str, ...] = ()

    @property
    def model_names(self) -> tuple[str, ...]:
        """Every name that a request may carry, adapters last."""
        return (*self.served_model_name, *(name for name, _ in self.lora_modules))

    def context_tokens(self) -> int:
        """The model's longest context: `--max-model-len`, else what its config.json declares.

        Raises:
            ValueError: the flag asks for more than the checkpoint allows, in vLLM's words.
        """
        declared = read_config(self.model).get("max_position_embeddings")
        if self.max_model_len is None:
            return int(declared) if declared else 4096
        if declared and self.max_model_len > int(declared):
            raise ValueError(
                f"User-specified max_model_len ({self.max_model_len}) is greater than the derived "
                f"max_model_len (max_position_embeddings={declared} or model_max_length=None in "
                "model's config.json)."
            )
        return self.max_model_len


def read_config(model: Path) -> dict[str, Any]:
    """The checkpoint's config.json; empty if there is none."""
    try:
        found = json.loads((model / "config.json").read_text())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    return found if isinstance(found, dict) else {}


def parse_count(text: str) -> int:
    """Read a number as vLLM does: 8192, 8k (thousands), 8K (1024s)."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kKmM]?)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of tokens")
    return int(float(match[1]) * _SUFFIXES.get(match[2], 1))


def parse_adapter(text: str) -> tuple[str, Path]:
    """Read `name=path`, the older of vLLM's two forms."""
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form name=path")
    return name, Path(path)


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vllm serve", allow_abbrev=False)
    parser.add_argument("model_tag", nargs="?")
    parser.add_argument("--model")
    parser.add_argument("--served-model-name", nargs="+")
    parser.add_argument("--host")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--max-model-len", type=parse_count)
    parser.add_argument("--quantization", "-q")
    parser.add_argument("--tensor-parallel-size", "-tp", type=int, default=1)
    parser.add_argument("--max-num-seqs", type=int, default=256)
    parser.add_argument("--shutdown-timeout", type=int, default=0)
    parser.add_argument("--enable-prompt-tokens-details", action="store_true")
    parser.add_argument("--enable-force-include-usage", action="store_true")
    parser.add_argument("--enable-auto-tool-choice", action="store_true")
    parser.add_argument("--tool-call-parser")
    parser.add_argument("--enable-lora", action="store_true")
    parser.add_argument("--lora-modules", nargs="+", type=parse_adapter, default=[])
    parser.add_argument("--max-lora-rank", type=int, choices=LORA_RANKS, default=16)
    parser.add_argument("--max-loras", type=int, default=1)
    parser.add_argument("--max-cpu-loras", type=int)
    parser.add_argument("--speculative-config", type=json.loads)
    parser.add_argument(
        "--safetensors-load-strategy", choices=("lazy", "eager", "prefetch", "torchao")
    )
    return parser


def _spell(word: str) -> str:
    """Spell an option with dashes: vLLM takes --served_model_name too; values stay as they are."""
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value


def parse(words: Sequence[str]) -> Arguments:
    """Read the command line (without the program's name); a bad one ends the program with code 2."""
    if words and words[0] == "serve":
        words = words[1:]
    parser = _make_parser()
    found, unknown = parser.parse_known_args([_spell(word) for word in words])
    model = found.model_tag or found.model
    if not model:
        parser.error("a model is needed: vllm serve <model>")
    return Arguments(
        model=Path(model),
        served_model_name=tuple(found.served_model_name or [model]),
        host=found.host,
        port=found.port,
        max_model_len=found.max_model_len,
        quantization=found.quantization,
        tensor_parallel_size=found.tensor_parallel_size,
        max_num_seqs=found.max_num_seqs,
        shutdown_timeout=found.shutdown_timeout,
        enable_prompt_tokens_details=found.enable_prompt_tokens_details,
        enable_force_include_usage=found.enable_force_include_usage,
        lora_modules=tuple(found.lora_modules) if found.enable_lora else (),
        draft=Path(found.speculative_config["model"]) if found.speculative_config else None,
        unknown=tuple(unknown),
    )
