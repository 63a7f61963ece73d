"""Where the weights lie → how an engine should read them, and whether to read them ahead of it.

1. In memory already (tmpfs): nothing to do. 2. Read ahead into the page cache by the companion: the engine's own
loader, which maps the files, is the fastest that every vLLM has. 3. A network file system: mapped files are read in
small random pieces, so vLLM is told to read whole files first. 4. A disk: the same, if the node's memory holds them.

Loaders that bypass the page cache are only the user's to choose: a flag that names one which the image lacks would
break every wake. instanttensor is in no stock image of vLLM, fastsafetensors since 0.20; from a cold disk it was no
faster than vLLM's own loader, and a third as fast as that from warmed pages (docs/benchmarks.md).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

GIB = 1024**3

MEMORY_MARGIN_BYTES = 2 * GIB
"""What the engine's processes need beside the weights' pages while they start."""

PAGES_NUMERATOR, PAGES_DENOMINATOR = 5, 4
"""Pages are counted 1.25 times: the loader stages tensors in memory beside the mapped files."""

PREFETCH = ("--safetensors-load-strategy", "prefetch")
"""Known to vLLM since 0.18.0, the oldest that torpor supports: whole files, in 16 MiB reads, ahead of the loader."""

LOADER_FLAGS = ("--load-format", "--safetensors-load-strategy", "--model-loader-extra-config")
"""With any of these the user has chosen; some of their combinations with ours are errors in vLLM."""


class Tier(StrEnum):
    """What holds the weights when the engine starts."""

    DISK = "disk"
    """A disk of the node: hostPath, a local or attached volume, an emptyDir on disk."""
    MEMORY = "memory"
    """tmpfs: an emptyDir with medium Memory."""
    NETWORK = "network"
    """A file system behind a network, such as a volume that many nodes mount."""


@dataclass(frozen=True, slots=True)
class Loading:
    """Arguments of `vllm serve` about loading, and why these."""

    args: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Warming:
    """Whether to read the weights into the page cache, and why."""

    warm: bool
    why: str


def choose_loading(
    tier: Tier,
    weights_bytes: int,
    *,
    warm_pages: bool,
    memory_bytes: int | None,
    user_args: Iterable[str],
) -> Loading:
    """Choose how vLLM loads the weights.

    Args:
        tier: What holds the weights.
        weights_bytes: All that the engine loads, in bytes.
        warm_pages: The pod's companion reads the weights into the page cache.
        memory_bytes: Memory of the node in bytes, if it is known.
        user_args: `spec.engine.args`.
    """
    theirs = next((flag for flag in map(_flag, user_args) if flag in LOADER_FLAGS), None)
    if theirs is not None:
        return Loading((), f"spec.engine.args has {theirs}")
    if tier is Tier.MEMORY:
        return Loading((), "the weights are in memory already")
    if warm_pages:
        return Loading((), "the companion reads the weights into the page cache first")
    if memory_bytes is not None and _needed(weights_bytes) > memory_bytes:
        return Loading(
            (),
            f"{_gib(weights_bytes)} of weights with their margin do not fit the node's memory of "
            f"{_gib(memory_bytes)}, so reading ahead would only evict itself",
        )
    if tier is Tier.NETWORK:
        return Loading(PREFETCH, "mapped files are slow on a network file system")
    if memory_bytes is None:
        return Loading((), "the node's memory is not known, so nothing is read ahead")
    return Loading(PREFETCH, "a cold disk is read fastest in long sequential reads")


def should_warm(weights_bytes: int, available: int, total: int, tier: Tier) -> Warming:
    """Decide whether reading the weights into the page cache helps.

    Args:
        weights_bytes: Bytes of the files that would be read.
        available: Bytes of memory that can be had without swapping, after any limit of the container.
        total: Bytes of memory of the node.
        tier: What holds the weights.
    """
    if tier is Tier.MEMORY:
        return Warming(False, "the weights are in memory already")
    if weights_bytes == 0:
        return Warming(False, "there are no weights to read")
    needed = _needed(weights_bytes)
    if needed > available:
        return Warming(
            False,
            f"{_gib(weights_bytes)} of weights need {_gib(needed)} of memory with their margin, "
            f"{_gib(available)} of {_gib(total)} are available",
        )
    return Warming(True, f"{_gib(weights_bytes)} of weights fit {_gib(available)} of memory")


def still_room(available: int) -> bool:
    """Whether reading ahead may go on, with so many bytes of memory available: it must never make the node swap."""
    return available >= MEMORY_MARGIN_BYTES


def _needed(weights_bytes: int) -> int:
    return weights_bytes * PAGES_NUMERATOR // PAGES_DENOMINATOR + MEMORY_MARGIN_BYTES


def _flag(argument: str) -> str:
    """The flag in vLLM's canonical spelling: it takes `_` for `-`, and `--flag=value`."""
    return argument.partition("=")[0].replace("_", "-")


def _gib(count: int) -> str:
    return f"{count / GIB:.1f} GiB"
