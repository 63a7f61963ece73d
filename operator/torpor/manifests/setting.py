"""What manifests need to know of the installation: images, the cache's path, and where the gateway answers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Installation:
    """Facts of this installation of torpor, from the controller's settings."""

    image: str
    """torpor's own image, for prewarm Jobs and the engine's init container."""
    engine_image: str
    """vLLM's image where `spec.engine.image` is not set."""
    image_pull_policy: str = "IfNotPresent"
    cache_dir: str = "/var/lib/torpor/weights"
    """Directory on every node, mounted at the same path in every pod."""
    gateway_url: str = ""
    """Base URL of the OpenAI API inside the cluster, shown in `status.url`."""
    recheck_ms: int | None = None
    """How long a listing of a source is believed before it is checked again; None = for ever."""
