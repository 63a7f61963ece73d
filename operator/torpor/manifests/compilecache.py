"""Where an engine keeps what it compiles, and by what name a later pod may take it over.

A pod gets a folder of its own (an emptyDir, at the same path in every pod, because compiled artefacts name their
paths). The init container fills it from the node's cache, the companion publishes it there once the engine is healthy.

What vLLM's own key is made of (`envs.compile_factors`, read for 0.18 to 0.32): nearly every `VLLM_*` variable but the
cache's root and addresses, and before 0.25 also folders below HOME and XDG_CACHE_HOME. So torpor sets no variable to
something that differs between pods, and leaves HOME alone: it is the image's own, the same in all of its pods.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from torpor.manifests import names

Json = dict[str, Any]

COMPILE_DIR: Final = "/var/cache/torpor/compiled"
COMPILE_VOLUME: Final = "torpor-compiled"
KEY_VERSION: Final = 2
"""Counted up when what is kept, or how, changes: older entries are then left alone."""

NOT_COMPILED: Final = (
    "--served-model-name",
    "--host",
    "--port",
    "--shutdown-timeout",
    "--safetensors-load-strategy",
)
"""Flags of which vLLM compiles nothing. Two endpoints with one model, or one that gets an alias, share an entry: on an
H100 that is 37 s of a start. A wrong flag here would cost as much: what is there already is not published again."""

_FOLDERS: Final = {
    "VLLM_CACHE_ROOT": "vllm",
    "TRITON_CACHE_DIR": "triton",
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "TORCH_EXTENSIONS_DIR": "extensions",
    "FLASHINFER_WORKSPACE_BASE": "flashinfer",
    "DG_JIT_CACHE_DIR": "deepgemm",
    "CUTE_DSL_CACHE_DIR": "cute",
    "TILELANG_CACHE_DIR": "tilelang",
    "TVM_FFI_CACHE_DIR": "tvm",
    "CUDA_CACHE_PATH": "cuda",
}
"""Each variable that names a cache of vLLM or of a library that compiles for it, and its folder."""


def compile_env(compile_dir: str = COMPILE_DIR) -> list[Json]:
    """Return the engine's variables that put every compile cache below one folder."""
    return [{"name": name, "value": f"{compile_dir}/{folder}"} for name, folder in _FOLDERS.items()]


def compile_settings(key: str, store: str = "", compile_dir: str = COMPILE_DIR) -> list[Json]:
    """Return what a prewarm container must be told to restore or publish what was compiled."""
    values = {
        "TORPOR_COMPILE_KEY": key,
        "TORPOR_COMPILE_DIR": compile_dir,
        "TORPOR_COMPILE_STORE": store,
    }
    return [{"name": name, "value": value} for name, value in values.items() if value]


def compile_key(
    *,
    namespace: str,
    image: str,
    gpu_class: str,
    gpus: int,
    args: Sequence[str],
    env: Sequence[Mapping[str, Any]],
    weights_hash: str,
    compile_dir: str = COMPILE_DIR,
) -> str:
    """Name what an engine would compile; two pods with one name may run the same machine code.

    The node adds its driver and its GPUs' product. The namespace is part of it because what was compiled is code: a
    namespace must never run what another one wrote.

    Args:
        namespace: The endpoint's.
        image: The engine's image, with its digest where it is known.
        gpu_class: The name of the GPU class.
        gpus: How many GPUs the engine spans.
        args: The engine's arguments; paths and clients' names among them change the name needlessly at worst.
        env: The engine's variables as they stand in the pod.
        weights_hash: The hash of all that the engine loads.
        compile_dir: Where the pod's own copy lies.
    """
    parts = {
        "version": KEY_VERSION,
        "namespace": namespace,
        "image": image,
        "gpuClass": gpu_class,
        "gpus": gpus,
        "args": _compiled_args(args),
        "env": sorted((dict(variable) for variable in env), key=lambda variable: variable["name"]),
        "weights": weights_hash,
        "dir": compile_dir,
    }
    return names.digest(json.dumps(parts, sort_keys=True), length=32)


def _compiled_args(args: Sequence[str]) -> list[str]:
    """Leave out what nothing is compiled of, flags and values; vLLM takes `_` for `-`, and `--flag=value`."""
    kept: list[str] = []
    left_out = False
    for argument in args:
        if argument.startswith("-"):
            left_out = argument.partition("=")[0].replace("_", "-") in NOT_COMPILED
        if not left_out:
            kept.append(argument)
    return kept
