"""The container runtime's own word on when containers ended: its events, not what Kubernetes made of them."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from dev.cluster.places import places
from dev.cluster.runtime import ctr

EXIT = "/tasks/exit"


class Ends:
    """When each container's process ended, epoch ms; filled while it is listened to."""

    def __init__(self) -> None:
        """Begin with none."""
        self._at: dict[str, int] = {}

    def take(self, line: str) -> None:
        """Take in one line of the runtime's events; a command run inside a container is not its end."""
        _, topic, rest = line.partition(f" {EXIT} ")
        if not topic:
            return
        event = json.loads(rest)
        if event["id"] == event["container_id"]:
            ended = datetime.fromisoformat(_to_micros(event["exited_at"]))
            self._at[event["container_id"]] = int(ended.timestamp() * 1000)

    def of(self, container: str) -> int | None:
        """Return when a container ended, as Kubernetes writes instants: in whole seconds, the rest cut off."""
        at = self._at.get(container)
        return None if at is None else at // 1000 * 1000

    def __len__(self) -> int:
        return len(self._at)


@contextmanager
def listening() -> Iterator[Ends]:
    """Listen to the runtime of the harness's node while the block runs."""
    ends = Ends()
    program = subprocess.Popen(
        [str(word) for word in ctr(places())] + ["events"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )

    def read() -> None:
        for line in program.stdout or ():
            ends.take(line)

    reader = threading.Thread(target=read, name="runtime events", daemon=True)
    reader.start()
    try:
        yield ends
    finally:
        program.terminate()
        program.wait(10)
        reader.join(10)


def _to_micros(stamp: str) -> str:
    """Cut nanoseconds, which Python does not read."""
    whole, dot, rest = stamp.rstrip("Z").partition(".")
    return f"{whole}{dot}{rest[:6].ljust(6, '0')}+00:00" if dot else f"{whole}+00:00"
