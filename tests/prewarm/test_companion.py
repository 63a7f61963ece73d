"""The engine's neighbour, as a process of its own beside a real HTTP server that answers like an engine."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from dev.ports import free_port
from tests.prewarm.test_hit import RUN_AND_LIST_MODULES
from torpor.domain.fetching import RemoteFile
from torpor.prewarm.companion import is_healthy
from torpor.prewarm.layout import Layout
from torpor.prewarm.program import carry_out, parse_order
from torpor.settings.prewarm import PrewarmSettings

HASH = "0" * 32
OPERATOR = str(Path(__file__).parents[2] / "operator")


class Engine:
    """Answers `/health` with whatever status it has at the moment."""

    def __init__(self) -> None:
        engine = self
        self.status = 503
        self.asked = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                engine.asked.set()
                self.send_response(engine.status if self.path == "/health" else 404)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine()
    try:
        yield engine
    finally:
        engine.close()


class Companion:
    """The program, and what it said."""

    def __init__(self, environ: dict[str, str]) -> None:
        command = [sys.executable, "-m", "torpor.prewarm", "accompany", "--hash", HASH]
        self.process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True)

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "it ended instead of speaking"
        said: dict[str, Any] = json.loads(line)["companion"]
        return said

    def hear_all(self, *steps: str) -> dict[str, dict[str, Any]]:
        said = [self.hear() for _ in steps]
        assert {one["step"] for one in said} == set(steps)
        return {one["step"]: one for one in said}

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(10)

    def threads(self) -> list[str]:
        return os.listdir(f"/proc/{self.process.pid}/task")

    def effort(self) -> tuple[str, ...]:
        """CPU time so far, and how often it has waited for something."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        status = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        waits = next(line for line in status if line.startswith("voluntary_ctxt_switches"))
        return fields[11], fields[12], waits


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Companion]]:
    begun: list[Companion] = []
    (tmp_path / "cache").mkdir()

    def begin(**variables: str) -> Companion:
        environ = {
            "PYTHONPATH": OPERATOR,
            "TORPOR_CACHE_DIR": str(tmp_path / "cache"),
            "TORPOR_COMPILE_DIR": str(tmp_path / "compiled"),
            "TORPOR_COMPILE_KEY": "engine",
        }
        begun.append(Companion(environ | variables))
        return begun[-1]

    yield begin
    for companion in begun:
        companion.process.kill()
        companion.process.wait()
        if companion.process.stdout is not None:
            companion.process.stdout.close()


def compile_something(tmp_path: Path) -> None:
    (tmp_path / "compiled" / "triton").mkdir(parents=True)
    (tmp_path / "compiled" / "triton" / "kernel.cubin").write_bytes(b"code" * 1000)


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_once_the_engine_is_healthy_its_code_is_kept_and_nothing_moves_any_more(
    tmp_path: Path, engine: Engine, start: Callable[..., Companion]
) -> None:
    compile_something(tmp_path)
    engine.status = 200
    companion = start(TORPOR_ENGINE_PORT=str(engine.port))
    said = companion.hear_all("engine", "compiled")
    assert said["compiled"]["published"] is True
    assert (said["compiled"]["bytes"], said["compiled"]["newBytes"]) == (4000, 0)
    (kept,) = (tmp_path / "cache" / "compile" / "compile").iterdir()
    assert (kept / "files/triton/kernel.cubin").read_bytes() == b"code" * 1000
    until(lambda: len(companion.threads()) == 1)
    until(lambda: _state(companion) == "S")
    before = companion.effort()
    time.sleep(0.3)  # the span in which an idle process must not have been awake once
    assert companion.effort() == before
    assert companion.end() == 0


def _state(companion: Companion) -> str:
    stat = Path(f"/proc/{companion.process.pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0]


def test_the_companion_of_the_second_replica_publishes_nothing(
    tmp_path: Path, engine: Engine, start: Callable[..., Companion]
) -> None:
    compile_something(tmp_path)
    engine.status = 200
    first = start(TORPOR_ENGINE_PORT=str(engine.port))
    first.hear_all("engine", "compiled")
    (tmp_path / "compiled" / "later").write_bytes(b"later!")
    second = start(TORPOR_ENGINE_PORT=str(engine.port))
    said = second.hear_all("engine", "compiled")["compiled"]
    assert said["published"] is False
    assert said["newBytes"] == 6, "what the engine compiled although it was given the entry"


def test_an_engine_that_is_not_healthy_is_waited_for(
    tmp_path: Path, engine: Engine, start: Callable[..., Companion]
) -> None:
    compile_something(tmp_path)
    companion = start(TORPOR_ENGINE_PORT=str(engine.port))
    assert engine.asked.wait(20)
    assert not (tmp_path / "cache" / "compile" / "compile").exists()
    engine.status = 200
    assert companion.hear_all("engine", "compiled")["compiled"]["published"] is True


def test_it_ends_at_once_while_it_waits_for_the_engine(
    engine: Engine, start: Callable[..., Companion]
) -> None:
    companion = start(TORPOR_ENGINE_PORT=str(engine.port))
    assert engine.asked.wait(20)
    assert companion.end() == 0


def test_it_ends_at_once_in_the_middle_of_reading_pages(
    tmp_path: Path, engine: Engine, start: Callable[..., Companion]
) -> None:
    model = Path(Layout(str(tmp_path / "cache")).model(HASH))
    model.mkdir(parents=True)
    with (model / "a.safetensors").open("wb") as shard:
        shard.truncate(2 * 1024**3)
    companion = start(TORPOR_ENGINE_PORT=str(engine.port), TORPOR_WARM_PAGES="true")
    assert engine.asked.wait(20)
    assert companion.end() == 0


def test_weights_are_read_ahead_while_the_engine_starts(
    tmp_path: Path, engine: Engine, start: Callable[..., Companion]
) -> None:
    model = Path(Layout(str(tmp_path / "cache")).model(HASH))
    model.mkdir(parents=True)
    (model / "a.safetensors").write_bytes(b"x" * 5_000_000)
    companion = start(TORPOR_ENGINE_PORT=str(engine.port), TORPOR_WARM_PAGES="true")
    said = companion.hear()
    assert said["step"] == "pages"
    assert said["read"] + said["cached"] == 5_000_000 or "are available" in said["message"]


@pytest.mark.parametrize(
    ("variables", "step", "words"),
    [
        ({"TORPOR_CACHE_DIR": "/dev/null"}, "compiled", "NotADirectoryError"),
        ({"TORPOR_ENGINE_PORT": "many"}, "settings", "TORPOR_ENGINE_PORT is 'many'"),
        ({"TORPOR_WARM_PAGES": "true"}, "pages", "FileNotFoundError"),
    ],
    ids=["no cache", "bad setting", "no weights"],
)
def test_whatever_goes_wrong_is_a_line_and_not_the_end(
    tmp_path: Path,
    engine: Engine,
    start: Callable[..., Companion],
    variables: dict[str, str],
    step: str,
    words: str,
) -> None:
    compile_something(tmp_path)
    engine.status = 200
    companion = start(**{"TORPOR_ENGINE_PORT": str(engine.port), **variables})
    while (said := companion.hear())["step"] != step:
        assert "error" not in said
    assert words in said["error"]
    until(lambda: _state(companion) == "S")
    assert companion.process.poll() is None
    assert companion.end() == 0


def test_an_engine_is_healthy_only_if_it_answers_200(engine: Engine) -> None:
    assert not is_healthy(engine.port)
    engine.status = 200
    assert is_healthy(engine.port)
    assert not is_healthy(free_port())


def test_companion_pages_and_compiled_code_need_the_standard_library_only() -> None:
    modules = "torpor.prewarm.companion", "torpor.prewarm.pages", "torpor.prewarm.harvest"
    imports = "\n".join(f"import {module}" for module in modules)
    code = f"import sys\nbefore = set(sys.modules)\n{imports}\nprint(*(set(sys.modules) - before))"
    run = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": OPERATOR}, capture_output=True, text=True
    )
    imported = {name.partition(".")[0] for name in run.stdout.split()}
    assert imported - sys.stdlib_module_names == {"torpor"}
    assert "ssl" not in imported


class Ensure:
    """The init container on a node that has the weights."""

    def __init__(self, folder: Path) -> None:
        self.settings = PrewarmSettings(
            cache_dir=str(folder / "cache"),
            termination_log=str(folder / "log"),
            compile_key="engine",
            compile_dir=str(folder / "given"),
        )
        _publish_weights(Layout(self.settings.cache_dir))

    def run(self) -> dict[str, Any]:
        order = parse_order(["ensure", "--hash", HASH])
        assert order is not None
        assert carry_out(order, self.settings) == 0
        result: dict[str, Any] = json.loads(Path(self.settings.termination_log).read_text())
        return result


def _publish_weights(layout: Layout) -> None:
    file = RemoteFile("config.json", 2, "e")
    folder = Path(layout.model(HASH))
    (folder / ".torpor").mkdir(parents=True)
    (folder / file.key).write_bytes(b"{}")
    manifest = {
        "hash": HASH,
        "source": "s3://b/p/",
        "verified": "crc32",
        "fetched_at": "2026-01-01T00:00:00+00:00",
        "files": {file.key: {"size": file.size}},
    }
    Path(layout.manifest(HASH)).write_text(json.dumps(manifest))
    Path(layout.marker(HASH)).write_text(HASH)


def test_what_the_companion_kept_the_next_pods_init_container_gives(
    tmp_path: Path, engine: Engine, start: Callable[..., Companion]
) -> None:
    compile_something(tmp_path)
    engine.status = 200
    start(TORPOR_ENGINE_PORT=str(engine.port)).hear_all("engine", "compiled")
    result = Ensure(tmp_path).run()
    assert result["reason"] == "Hit"
    assert (result["compiled"]["files"], result["compiled"]["bytes"]) == (1, 4000)
    assert (tmp_path / "given/triton/kernel.cubin").read_bytes() == b"code" * 1000


def test_an_init_container_without_anything_compiled_is_a_hit_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    result = Ensure(tmp_path).run()
    assert (result["reason"], result["compiled"]["files"]) == ("Hit", 0)


def test_an_init_container_that_cannot_write_the_copy_is_a_hit_all_the_same(
    tmp_path: Path,
) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "given").write_text("no folder")
    result = Ensure(tmp_path).run()
    assert (result["reason"], result["compiled"]["files"]) == ("Hit", 0)
    assert "was not used" in result["compiled"]["message"]


def test_giving_compiled_code_needs_the_standard_library_only(
    tmp_path: Path, engine: Engine, start: Callable[..., Companion]
) -> None:
    compile_something(tmp_path)
    engine.status = 200
    start(TORPOR_ENGINE_PORT=str(engine.port)).hear_all("engine", "compiled")
    settings = Ensure(tmp_path).settings
    environ = {
        "PYTHONPATH": OPERATOR,
        "TORPOR_CACHE_DIR": settings.cache_dir,
        "TORPOR_TERMINATION_LOG": settings.termination_log,
        "TORPOR_COMPILE_KEY": settings.compile_key,
        "TORPOR_COMPILE_DIR": settings.compile_dir,
    }
    command = [sys.executable, "-c", RUN_AND_LIST_MODULES, "ensure", "--hash", HASH]
    run = subprocess.run(command, env=environ, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
    assert json.loads(Path(settings.termination_log).read_text())["compiled"]["files"] == 1
    imported = set(run.stdout.splitlines()[-1].split()[1:])
    assert {"ssl", "http", "shutil", "tarfile", "dataclasses", "botocore"}.isdisjoint(imported)
