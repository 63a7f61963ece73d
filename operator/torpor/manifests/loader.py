"""vLLM's flags for adapters and drafts. How it loads the weights is decided in `domain.loading`.

Names and values hold for vLLM 0.18 to 0.32. All stand before `spec.engine.args`, where the last one wins.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from torpor.api.endpoint import DraftMethod

LORA_RANKS: Final = (8, 16, 32, 64, 128, 256, 320, 512)
"""What `--max-lora-rank` takes (1 too, which is never the best): any other number is an error."""
MOST_IN_BATCH: Final = 4
"""Adapters that one batch may mix. Each costs GPU memory for the largest rank, whether it is used or not."""

_METHODS: Final = {
    DraftMethod.DRAFT_MODEL: "draft_model",
    DraftMethod.EAGLE: "eagle",
    DraftMethod.EAGLE3: "eagle3",
    DraftMethod.MTP: "mtp",
}


def lora_args(adapters: Sequence[tuple[str, str]], rank: int) -> list[str]:
    """Return the flags that serve adapters, each a name and a folder, beside the model.

    All are kept in the memory of the node, so that a change of adapter reads no disk.

    Args:
        adapters: Names and folders, in order.
        rank: The largest rank among them; rounded up to one that vLLM takes.

    Raises:
        ValueError: No vLLM takes so high a rank.
    """
    if not adapters:
        return []
    fitting = next((allowed for allowed in LORA_RANKS if allowed >= rank), None)
    if fitting is None:
        raise ValueError(f"an adapter has rank {rank}; vLLM takes at most {LORA_RANKS[-1]}")
    modules = [f"{name}={path}" for name, path in adapters]
    return [
        *("--enable-lora", "--max-lora-rank", str(fitting)),
        *("--max-loras", str(min(len(adapters), MOST_IN_BATCH))),
        *("--max-cpu-loras", str(len(adapters))),
        *("--lora-modules", *modules),
    ]


def draft_args(path: str, method: DraftMethod, tokens: int) -> list[str]:
    """Return the flag for speculative decoding with the draft in a folder, *tokens* proposed at a time."""
    config = {"method": _METHODS[method], "model": path, "num_speculative_tokens": tokens}
    return ["--speculative-config", json.dumps(config)]
