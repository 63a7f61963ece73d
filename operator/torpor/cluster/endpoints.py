"""Where the endpoints come from: the API server, or a file that kubectl wrote."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

Json = dict[str, Any]
KIND = "InferenceEndpoint"


class Unreadable(Exception):
    """There is no endpoint to look at; `str()` says why, and what would help."""


def from_file(name: str, namespace: str | None) -> list[Json]:
    """Return the endpoints of a file made by `kubectl get ie -A -o json`; `-` is the standard input.

    Raises:
        Unreadable: It cannot be read, or is something else.
    """
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Unreadable(f"{name} cannot be read: {error}") from error
    try:
        document = json.loads(text)
    except ValueError as error:
        raise Unreadable(
            f"{name} is not JSON ({error}); make it with: kubectl get ie -A -o json"
        ) from error
    items = document.get("items", [document]) if isinstance(document, dict) else None
    if not isinstance(items, list):
        raise Unreadable(
            f"{name} holds no list of objects; make it with: kubectl get ie -A -o json"
        )
    for number, item in enumerate(items, 1):
        kind = item.get("kind") if isinstance(item, dict) else None
        if kind != KIND or not isinstance(item.get("metadata"), dict):
            raise Unreadable(
                f"{name}: object {number} is {kind or 'no object of Kubernetes'}, not {KIND}; "
                "make the file with: kubectl get ie -A -o json"
            )
    return [item for item in items if namespace in (None, _namespace(item))]


def _namespace(item: Json) -> str:
    return str(item["metadata"].get("namespace") or "default")


def from_cluster(
    namespace: str | None, kubeconfig: str | None = None, context: str | None = None
) -> list[Json]:
    """Return the endpoints of the cluster, or of one namespace of it.

    Raises:
        Unreadable: There is no cluster to ask, or it refuses.
    """
    import asyncio

    return asyncio.run(_ask(namespace, kubeconfig, context))


async def _ask(namespace: str | None, kubeconfig: str | None, context: str | None) -> list[Json]:
    from torpor.cluster.connect import ConnectFailed, connect
    from torpor.cluster.listing import ListingRefused, endpoints_path, list_all

    try:
        api = await connect(kubeconfig, context)
    except ConnectFailed as error:
        raise Unreadable(
            f"no cluster to ask: {error}; name one with --kubeconfig, or --file"
        ) from error
    try:
        return await list_all(api, endpoints_path(namespace))
    except ListingRefused as error:
        raise Unreadable(str(error)) from error
    finally:
        await api.close()
