"""Only the very process that the harness started is ever taken for its own, or killed."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dev.cluster import processes
from dev.cluster.commands import wait_until
from dev.cluster.errors import HarnessError
from dev.cluster.places import Places
from dev.cluster.processes import Identity

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux' /proc")


@pytest.fixture
def where(tmp_path: Path) -> Iterator[Places]:
    here = Places(repo=tmp_path, cache=tmp_path / "cache", run=tmp_path / "run")
    yield here
    processes.stop(processes.marked(here), grace=0.0)


def started(where: Places, name: str, *command: str) -> Identity:
    processes.start(where, name, command)
    wait_until("recorded", lambda: processes.recorded(where, name) is not None, timeout=10)
    found = processes.recorded(where, name)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("7 (sh) S 1 7 7 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 4242 99", (7, "S", 1, 4242)),
        ("8 (a) b (c) Z 3 8 8 0 -1 0 1 2 3 4 5 6 7 8 20 0 1 0 17 0", (8, "Z", 3, 17)),
    ],
    ids=["plain", "name with spaces and brackets"],
)
def test_stat_lines_are_read_whatever_the_program_is_called(
    line: str, expected: tuple[int, str, int, int]
) -> None:
    assert processes.parse_stat(line) == expected


@pytest.mark.parametrize("text", ["", "boot\n", "boot\n12 (sh", "boot\n1 (a) S\nextra"])
def test_a_record_that_was_cut_short_names_nobody(text: str) -> None:
    assert processes.parse_record(text) is None


def test_a_program_records_itself_before_it_becomes_the_program(where: Places) -> None:
    identity = started(where, "sleeper", "sleep", "60")
    wait_until(
        "became sleep",
        lambda: Path(f"/proc/{identity.pid}/comm").read_text().strip() == "sleep",
        timeout=10,
    )
    assert processes.lives(identity)
    assert processes.all_recorded(where) == {"sleeper": identity}


def test_a_callers_open_pipe_is_not_kept_open_by_a_program(where: Places) -> None:
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    started(where, "sleeper", "sleep", "60")
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert pipe.read() == b""


def test_starting_what_runs_starts_nothing(where: Places) -> None:
    identity = started(where, "sleeper", "sleep", "60")
    assert processes.start(where, "sleeper", ["sleep", "60"]) is False
    assert processes.recorded(where, "sleeper") == identity


def test_a_recycled_pid_is_neither_ours_nor_killed() -> None:
    with subprocess.Popen(["sleep", "60"]) as stranger:
        [seen] = processes.identify([stranger.pid])
        earlier = replace(seen, started=seen.started - 1)
        assert not processes.lives(earlier)
        processes.send(earlier, signal.SIGKILL)
        processes.stop([earlier], grace=0.0)
        assert stranger.poll() is None
        stranger.kill()


def test_a_record_of_an_earlier_boot_names_nobody(where: Places) -> None:
    identity = started(where, "sleeper", "sleep", "60")
    record = where.pids / "sleeper"
    record.write_text("another-boot\n" + record.read_text().splitlines()[1] + "\n")
    assert processes.recorded(where, "sleeper") is None
    assert not processes.lives(replace(identity, boot="another-boot"))


def test_a_program_that_ignores_sigterm_is_killed(where: Places) -> None:
    ready = where.run / "ready"
    script = f"trap '' TERM; : > {ready}; while :; do sleep 0.05; done"
    identity = started(where, "stubborn", "sh", "-c", script)
    wait_until("trap set", ready.exists, timeout=10)
    processes.stop([identity], grace=0.1)
    assert not processes.lives(identity)


def test_a_lost_record_still_leaves_a_mark_to_find_the_process_by(where: Places) -> None:
    identity = started(where, "sleeper", "sleep", "60")
    (where.pids / "sleeper").unlink()
    assert identity in processes.marked(where)
    elsewhere = replace(where, run=where.run / "other")
    assert processes.marked(elsewhere) == []


def test_children_of_children_are_found(where: Places) -> None:
    ready = where.run / "ready"
    script = f"sh -c 'sleep 60 & : > {ready}; wait' & wait"
    parent = started(where, "parent", "sh", "-c", script)
    wait_until("grandchild", ready.exists, timeout=10)
    below = processes.descendants([parent])
    assert len(below) == 2
    assert parent not in below


def test_a_program_that_stopped_is_reported_with_its_last_words(where: Places) -> None:
    processes.start(where, "loud", ["sh", "-c", "echo out of memory >&2; exit 3"])
    log = where.logs / "loud.log"
    wait_until("ended", lambda: "memory" in log.read_text(), timeout=10)
    wait_until("gone", lambda: processes.recorded(where, "loud") is None, timeout=10)
    with pytest.raises(HarnessError, match=r"(?s)loud stopped.*out of memory"):
        processes.must_live(where, "loud")
