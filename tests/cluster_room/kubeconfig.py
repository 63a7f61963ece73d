"""The kubeconfig of a program under test."""

from __future__ import annotations

import json
from pathlib import Path


def write_kubeconfig(folder: Path, server: str, token: str = "", **cluster: str) -> str:
    """Write one that leads to *server*, with more of its cluster's entry, and return its path."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "u", "user": {"token": token} if token else {}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path = folder / "kubeconfig"
    path.write_text(json.dumps(config))
    return str(path)
