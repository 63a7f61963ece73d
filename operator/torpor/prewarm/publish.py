"""From a finished download to a copy that engines may mount: rename, manifest, and the marker last."""

import json
import os

from torpor import clock
from torpor.domain.fetching import FetchReason
from torpor.domain.safetensors import LENGTH_BYTES, header_end, header_fault
from torpor.prewarm.disk import sync_folder, sync_folders, write_durably
from torpor.prewarm.failure import FetchFailure
from torpor.prewarm.journal import forget
from torpor.prewarm.layout import Layout, Manifest
from torpor.prewarm.proof import weakest
from torpor.prewarm.transfer import Landed


def publish(layout: Layout, name: str, source: str, landed: list[Landed]) -> Manifest:
    """Publish `partial/<name>`, whose files are on disk already.

    After a power cut at any instant there is either no marker, and the copy is fetched again, or a marker
    and everything it stands for.

    Raises:
        FetchFailure: a shard on disk does not have the form its header promises.
        OSError: the cache cannot be written.
    """
    partial, model = layout.partial(name), layout.model(name)
    _check_headers(partial, source, landed)
    manifest = Manifest(
        hash=name,
        source=source,
        verified=weakest(entry.verified for entry in landed),
        fetched_at=clock.now().isoformat(timespec="seconds"),
        files={
            entry.file.key: {
                "size": entry.file.size,
                "etag": entry.file.etag,
                "crc64nvme": entry.crc64nvme,
                "verified": entry.verified,
            }
            for entry in sorted(landed, key=lambda entry: entry.file.key)
        },
    )
    sync_folders(partial)
    os.makedirs(os.path.dirname(model), exist_ok=True)
    os.rename(partial, model)
    sync_folder(os.path.dirname(model))
    os.makedirs(os.path.dirname(layout.manifest(name)), exist_ok=True)
    sync_folder(model)
    write_durably(
        layout.manifest(name), json.dumps(manifest._asdict(), indent=1, sort_keys=True).encode()
    )
    write_durably(layout.marker(name), f"{name}\n".encode())
    forget(model)
    return manifest


def _check_headers(folder: str, source: str, landed: list[Landed]) -> None:
    """Look at the shards as an engine will find them, whatever the store said about their content."""
    for entry in landed:
        if not entry.file.key.endswith(".safetensors"):
            continue
        with open(os.path.join(folder, entry.file.key), "rb") as shard:
            head = shard.read(LENGTH_BYTES)
            end = header_end(head, entry.file.size)
            if isinstance(end, int):
                head += shard.read(end - LENGTH_BYTES)
        fault = header_fault(head, entry.file.size)
        if fault is not None:
            raise FetchFailure(
                FetchReason.CORRUPT, f"{source}{entry.file.key} {fault}", retryable=True
            )
