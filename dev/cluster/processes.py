"""Long-running programs of the cluster, recorded so that only they are ever killed.

A record holds the pid, the process's start time in clock ticks since boot, and the boot's id: the
three together name one process for ever, so a recycled pid is never mistaken for ours. The process
writes its own record before it becomes the program (`sh` writes, then `exec`s: pid and start time
stay), so a harness killed with -9 at any instant leaves no unrecorded process. The environment
carries a mark as well, by which `marked` finds children that programs of ours started.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import HarnessError
from .places import Places, child_environment

MARK = "TORPOR_DEV_CLUSTER"
_RECORDER = (
    "cd /; read -r stat < /proc/$$/stat; read -r boot < /proc/sys/kernel/random/boot_id; "
    'printf "%s\\n%s\\n" "$boot" "$stat" > "$0.part" && mv "$0.part" "$0" && exec "$@"'
)


@dataclass(frozen=True)
class Identity:
    """One process, for ever: pid, start in ticks since boot, and which boot."""

    pid: int
    started: int
    boot: str


def current_boot() -> str:
    """The id of the running kernel's boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def parse_stat(stat: str) -> tuple[int, str, int, int]:
    """(pid, state, parent pid, start ticks) from a line of /proc/<pid>/stat.

    The program's name stands in brackets and may itself hold spaces and brackets, so fields are
    counted from the last closing one.
    """
    pid = int(stat.split(" ", 1)[0])
    fields = stat[stat.rindex(")") + 2 :].split()
    return pid, fields[0], int(fields[1]), int(fields[19])


def parse_record(text: str) -> Identity | None:
    """The identity in a record; None if the record was cut short."""
    lines = text.splitlines()
    if len(lines) != 2 or ")" not in lines[1]:
        return None
    pid, _, _, started = parse_stat(lines[1])
    return Identity(pid=pid, started=started, boot=lines[0])


def read_stat(pid: int) -> tuple[int, str, int, int] | None:
    """What /proc says about a pid now; None if there is no such process."""
    try:
        return parse_stat(Path(f"/proc/{pid}/stat").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return None


def lives(identity: Identity) -> bool:
    """Whether that very process still runs; a zombie does not."""
    if identity.boot != current_boot():
        return False
    seen = read_stat(identity.pid)
    return seen is not None and seen[3] == identity.started and seen[1] not in "ZX"


def recorded(places: Places, name: str) -> Identity | None:
    """The living process recorded under `name`."""
    try:
        identity = parse_record((places.pids / name).read_text())
    except FileNotFoundError:
        return None
    return identity if identity is not None and lives(identity) else None


def all_recorded(places: Places) -> dict[str, Identity]:
    """Every living recorded process by name."""
    if not places.pids.is_dir():
        return {}
    names = sorted(path.name for path in places.pids.iterdir() if path.suffix != ".part")
    found = ((name, recorded(places, name)) for name in names)
    return {name: identity for name, identity in found if identity is not None}


def start(
    places: Places, name: str, command: Sequence[str | Path], *, env: dict[str, str] | None = None
) -> bool:
    """Start a program in its own session unless it runs; True if it was started now."""
    if recorded(places, name) is not None:
        return False
    places.pids.mkdir(parents=True, exist_ok=True)
    places.logs.mkdir(parents=True, exist_ok=True)
    (places.pids / name).unlink(missing_ok=True)
    words = [str(word) for word in command]
    log = str(places.logs / f"{name}.log")
    os.posix_spawn(
        "/bin/sh",
        ["/bin/sh", "-c", _RECORDER, str(places.pids / name), *words],
        child_environment(**{MARK: str(places.run)}, **(env or {})),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
            *((os.POSIX_SPAWN_CLOSE, number) for number in _inherited()),
        ],
        setsid=True,
    )
    return True


def _inherited() -> list[int]:
    """Files that our caller left open for us: kept by a program for hours, its pipes never end."""
    inherited = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if int(name) > 2 and os.get_inheritable(int(name)):
                inherited.append(int(name))
    return inherited


def log_tail(places: Places, name: str, lines: int = 8) -> str:
    """The last lines that a program wrote, for error messages."""
    try:
        text = (places.logs / f"{name}.log").read_text(errors="replace")
    except FileNotFoundError:
        return "(no log)"
    return "\n".join(text.splitlines()[-lines:])


def must_live(places: Places, name: str) -> None:
    """Raise with the end of its log if a started program is gone."""
    record = places.pids / name
    if record.exists() and recorded(places, name) is None:
        raise HarnessError(f"{name} stopped; its last words:\n{log_tail(places, name)}")


def identify(pids: Iterable[int]) -> list[Identity]:
    """Identities of those pids that exist."""
    boot = current_boot()
    seen = ((pid, read_stat(pid)) for pid in pids)
    return [Identity(pid, stat[3], boot) for pid, stat in seen if stat is not None]


def every_pid() -> list[int]:
    """All pids that /proc shows."""
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def marked(places: Places) -> list[Identity]:
    """Processes whose environment names this harness: ours, recorded or not, and their shims."""
    mark = f"{MARK}={places.run}".encode()
    found = []
    for pid in every_pid():
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        if pid != os.getpid() and mark in environment.split(b"\0"):
            found.append(pid)
    return identify(found)


def descendants(roots: Iterable[Identity]) -> list[Identity]:
    """Every process below `roots` in the tree, nearest first, the roots themselves not."""
    children: dict[int, list[int]] = {}
    for pid in every_pid():
        stat = read_stat(pid)
        if stat is not None:
            children.setdefault(stat[2], []).append(pid)
    found: list[int] = []
    queue = [root.pid for root in roots]
    while queue:
        below = children.get(queue.pop(0), [])
        found.extend(below)
        queue.extend(below)
    return identify(found)


def send(identity: Identity, what: signal.Signals) -> None:
    """Signal that very process: a pid file descriptor is taken before the identity is checked."""
    try:
        handle = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return
    try:
        if lives(identity):
            signal.pidfd_send_signal(handle, what)
    except ProcessLookupError:
        return
    finally:
        os.close(handle)


def stop(identities: Sequence[Identity], *, grace: float) -> None:
    """SIGTERM, up to `grace` seconds, then SIGKILL; returns when all are gone.

    Raises:
        HarnessError: something survived SIGKILL for ten seconds.
    """
    if grace > 0:
        for identity in identities:
            send(identity, signal.SIGTERM)
        _await_death(identities, grace)
    for identity in identities:
        send(identity, signal.SIGKILL)
    left = _await_death(identities, 10.0)
    if left:
        raise HarnessError(f"process {left[0].pid} survived SIGKILL for 10 s")


def _await_death(identities: Sequence[Identity], seconds: float) -> list[Identity]:
    deadline = time.monotonic() + seconds
    left = list(identities)
    while left and time.monotonic() < deadline:
        left = [identity for identity in left if lives(identity) or _reap(identity)]
        if left:
            time.sleep(0.02)
    return [identity for identity in left if lives(identity)]


def _reap(identity: Identity) -> bool:
    """Bury a dead child of this very process; others' children are theirs to bury."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(identity.pid, os.WNOHANG)
    return False
