"""Which copies engines use: a hit, and when the last one was. Standard library only, as a hit is.

The last use is the modification time of `.torpor/used`: one cheap system call, never half-written, and put
there by the one who knows (an engine's start sets it to now, a Job to the last start that it was told).
It is not forced to disk: after a power cut a copy may look less used than it was, and every engine has to
start again, which marks it anew.

There is no mark for pins. A pin is a wish of an endpoint and may go with it; the controller tells each Job what
is pinned (`TORPOR_CACHE_KEEP`), and a mark on disk would have to be kept in step with that list. What the list
cannot know yet, because it is older than the copy, `domain.eviction` protects by the time of publishing.
"""

import contextlib
import os
from threading import Event

from torpor.prewarm.layout import Layout, Manifest
from torpor.prewarm.locks import try_lock

HIT_POLL_SECONDS = 0.01
HIT_POLLS = 500
"""Times a hit looks again while another process locks a complete copy: it renames it or marks it, in milliseconds."""


def take_hit(layout: Layout, name: str, used_at: int) -> Manifest | None:
    """Find a complete copy for an engine that starts now, and mark it used; None when there is none.

    The lock is shared while the copy is looked at and marked. So an eviction, which needs the lock for itself,
    either came first (no hit) or sees the fresh use and lets the copy be. A cache that cannot be written
    still gives its hits: who reads it through that mount cannot remove anything either.

    Args:
        layout: the cache.
        name: hash of the copy.
        used_at: now, in seconds since the epoch.
    """
    for _ in range(HIT_POLLS):
        try:
            fd = try_lock(layout.lock(name), shared=True)
        except OSError:
            return layout.find_copy(name)
        if fd is not None:
            try:
                manifest = layout.find_copy(name)
                if manifest is not None:
                    mark_used(layout, name, used_at)
                return manifest
            finally:
                os.close(fd)
        if layout.find_copy(name) is None:
            return None
        Event().wait(HIT_POLL_SECONDS)
    return None


def mark_used(layout: Layout, name: str, used_at: int) -> None:
    """Note a use, unless a later one is known; the caller holds the lock of the copy.

    With the lock shared, `used_at` must be now: then those who mark at once mark the same.
    """
    path = layout.used(name)
    with contextlib.suppress(OSError):
        try:
            known = os.stat(path).st_mtime
        except FileNotFoundError:
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
            known = 0.0
        if used_at > known:
            os.utime(path, (used_at, used_at))


def last_used(layout: Layout, name: str) -> int:
    """When the copy was last used, in seconds since the epoch; when it was published, if no use is known."""
    for path in (layout.used(name), layout.marker(name)):
        with contextlib.suppress(OSError):
            return int(os.stat(path).st_mtime)
    return 0


def published_at(layout: Layout, name: str) -> int | None:
    """When the copy was published, in seconds since the epoch; None for what was never published."""
    try:
        return int(os.stat(layout.marker(name)).st_mtime)
    except OSError:
        return None
