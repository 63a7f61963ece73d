"""The meter counts the whole tree of a client, orphans included, and leaves nobody behind."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from bench.rivals.rounds import METER

HOLD = "b = bytearray(60_000_000); b[::4096] = b'x' * len(b[::4096])"
BURN = "import time\nwhile time.process_time() < 0.4: pass"


def start(tmp_path: Path, code: str, *handles: int) -> subprocess.Popen[bytes]:
    (tmp_path / "out").mkdir()
    places = [str(tmp_path / name) for name in ("report", "log", "out")]
    words = [*places, sys.executable, "-c", code, *map(str, handles)]
    return subprocess.Popen(
        [sys.executable, "-I", "-S", METER, *words], cwd=tmp_path, pass_fds=handles
    )


def measure(tmp_path: Path, code: str) -> dict[str, float]:
    assert start(tmp_path, code).wait(60) == 0
    report: dict[str, float] = json.loads((tmp_path / "report").read_text())
    return report


def test_processor_time_of_a_child_that_nobody_waited_for_counts(tmp_path: Path) -> None:
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {BURN!r}])"
    assert measure(tmp_path, code)["cpu"] >= 0.4


def test_memory_is_that_of_all_processes_together(tmp_path: Path) -> None:
    hold = HOLD + "; input()"
    code = (
        f"import subprocess, sys, time; {HOLD}\n"
        f"p = subprocess.Popen([sys.executable, '-c', {hold!r}], stdin=subprocess.PIPE)\n"
        "def held(): return int(open(f'/proc/{p.pid}/statm').read().split()[1]) * 4096\n"
        "while held() < 60_000_000: time.sleep(0.01)\n"
        "time.sleep(0.5)\n"
        "p.communicate(b'\\n')"
    )
    report = measure(tmp_path, code)
    assert 120e6 < report["peak"] < 250e6
    assert 60e6 < report["largest"] < 125e6


def test_the_memory_of_a_small_client_is_not_that_of_whoever_measures(tmp_path: Path) -> None:
    held = bytearray(100_000_000)
    held[::4096] = b"x" * len(held[::4096])
    assert measure(tmp_path, "pass")["largest"] < 50e6


def test_what_the_client_printed_and_how_it_ended_is_kept(tmp_path: Path) -> None:
    report = measure(tmp_path, "import sys; print('out'); print('err', file=sys.stderr); exit(3)")
    assert report["status"] == 3
    assert sorted((tmp_path / "log").read_text().split()) == ["err", "out"]


def test_durable_is_later_than_the_exit(tmp_path: Path) -> None:
    code = "open('out/a', 'wb').write(bytes(1000)); import os; os.mkdir('out/sub')"
    report = measure(tmp_path, code)
    assert report["durable"] > report["seconds"]


def test_a_stopped_measurement_takes_the_whole_tree_with_it(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, os\n"
        "p = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)\n"
        "os.write(int(sys.argv[1]), f'{os.getpid()} {p.pid}\\n'.encode())\n"
        "p.wait()"
    )
    reader, writer = os.pipe()
    meter = start(tmp_path, code, writer)
    os.close(writer)
    with os.fdopen(reader) as told:
        pids = [int(word) for word in told.readline().split()]
        meter.send_signal(signal.SIGTERM)
        assert meter.wait(20) == 143
        assert told.read() == ""  # nobody holds the other end any more
    assert len(pids) == 2
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    assert not (tmp_path / "report").exists()
