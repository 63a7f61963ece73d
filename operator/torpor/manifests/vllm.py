"""The command line of `vllm serve`: names, sizes, adapters, draft and loader; the user's own arguments come last."""

from __future__ import annotations

from torpor.api.endpoint import CacheKind, InferenceEndpoint
from torpor.domain.loading import Tier, choose_loading
from torpor.domain.prewarmjobs import Weights
from torpor.manifests import names
from torpor.manifests.cachevolumes import claim_source, engine_dirs
from torpor.manifests.loader import draft_args, lora_args
from torpor.manifests.setting import Installation


def engine_args(
    endpoint: InferenceEndpoint,
    gpus: int,
    weights: Weights,
    installation: Installation,
    shutdown_seconds: int,
) -> list[str]:
    """Return the arguments of `vllm serve`; the user's own come last.

    Args:
        endpoint: What is served.
        gpus: GPUs per replica.
        weights: Where its parts lie: model, draft, adapters.
        installation: Where the cache is mounted.
        shutdown_seconds: How long requests may go on after SIGTERM.

    Raises:
        ValueError: The adapters have a rank that no vLLM takes.
    """
    model = endpoint.spec.model
    folders = engine_dirs(endpoint, installation, weights.all_parts)
    args = [folders[0], "--served-model-name", *endpoint.engine_names]
    args += ["--host", "0.0.0.0", "--port", str(names.ENGINE_PORT)]
    args += ["--shutdown-timeout", str(shutdown_seconds)]
    if model.max_length is not None:
        args += ["--max-model-len", str(model.max_length)]
    if model.quantization is not None:
        args += ["--quantization", model.quantization]
    if gpus > 1:
        args += ["--tensor-parallel-size", str(gpus)]
    rest = folders[1:]
    if model.draft is not None and rest:
        args += draft_args(rest.pop(0), model.draft.method, model.draft.tokens)
    adapters = [(a.name, folder) for a, folder in zip(model.adapters, rest, strict=False)]
    args += lora_args(adapters, weights.lora_rank)
    theirs, tier = endpoint.spec.engine.args, tier_of(endpoint)
    loading = choose_loading(
        tier,
        weights.bytes,
        warm_pages=warms_pages(endpoint),
        memory_bytes=None,
        user_args=theirs,
    )
    return [*args, *loading.args, *theirs]


def warms_pages(endpoint: InferenceEndpoint) -> bool:
    """Whether the companion reads the weights ahead of the engine; over a network vLLM does it better itself."""
    return tier_of(endpoint) is Tier.DISK


def tier_of(endpoint: InferenceEndpoint) -> Tier:
    """A claim may be a disk or a network file system; what helps the one does not harm the other."""
    in_claim = endpoint.spec.prewarm.cache.kind is CacheKind.PVC or claim_source(endpoint)
    return Tier.NETWORK if in_claim else Tier.DISK
