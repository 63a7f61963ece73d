"""The init container's path when the node has the weights: nothing but the standard library, no network."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dev.ports import free_port
from tests.prewarm.conftest import Prewarm
from tests.prewarm.s3server import Bucket
from torpor.prewarm.program import main, parse_order

RUN_AND_LIST_MODULES = """
import sys
from torpor.prewarm.program import main
status = main(sys.argv[1:])
print("MODULES", *sorted({name.partition(".")[0] for name in sys.modules}))
sys.exit(status)
"""


def test_a_hit_imports_the_standard_library_only_and_asks_nobody(
    prewarm: Prewarm, bucket: Bucket
) -> None:
    bucket.put_checkpoint("llama/")
    fetched = prewarm.run("fetch")
    environ = prewarm.environ(endpoint=f"http://127.0.0.1:{free_port()}", access_key="", source="")
    command = [sys.executable, "-c", RUN_AND_LIST_MODULES, "ensure", "--hash", fetched["hash"]]
    run = subprocess.run(command, env=environ, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
    result = json.loads(Path(prewarm.settings.termination_log).read_text())
    assert (result["reason"], result["hash"]) == ("Hit", fetched["hash"])
    assert (result["files"], result["bytes"]) == (fetched["files"], fetched["bytes"])
    imported = run.stdout.splitlines()[-1].split()[1:]
    foreign = {name for name in imported if name not in sys.stdlib_module_names} - {
        "torpor",
        "__main__",
    }
    assert {name for name in foreign if not _is_started_by_the_interpreter(name)} == set()
    slow = {
        "ssl",
        "http",
        "asyncio",
        "dataclasses",
        "inspect",
        "xml",
        "email",
        "argparse",
        "logging",
    }
    assert slow.isdisjoint(imported)


def _is_started_by_the_interpreter(name: str) -> bool:
    """Modules that a virtual environment's .pth files bring into every Python, even one that does nothing."""
    command = [sys.executable, "-c", "import sys; print(*sys.modules)"]
    bare = subprocess.run(command, env={}, capture_output=True, text=True, check=True)
    return name in {module.partition(".")[0] for module in bare.stdout.split()}


def test_a_bad_command_line_prints_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ensure"]) == 2
    assert "usage: torpor prewarm" in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv", [[], ["fetch", "x"], ["ensure", "--hash"], ["ensure", "x"], ["prefetch"]], ids=str
)
def test_only_the_three_modes_are_orders(argv: list[str]) -> None:
    assert parse_order(argv) is None


def test_a_setting_that_is_no_number_is_named_in_the_termination_log(
    prewarm: Prewarm,
) -> None:
    environ = prewarm.environ() | {"TORPOR_PREWARM_CONNECTIONS": "many"}
    command = [sys.executable, "-m", "torpor.prewarm", "fetch"]
    run = subprocess.run(command, env=environ, capture_output=True, text=True)
    assert run.returncode == 1
    result = json.loads(Path(prewarm.settings.termination_log).read_text())
    assert result["reason"] == "WeightsInternal"
    assert "TORPOR_PREWARM_CONNECTIONS is 'many'; it must be a whole number" in result["message"]


def test_a_termination_log_that_cannot_be_written_does_not_change_the_result(
    prewarm: Prewarm, bucket: Bucket
) -> None:
    bucket.put_checkpoint("llama/")
    environ = prewarm.environ(termination_log=str(prewarm.folder))
    command = [sys.executable, "-m", "torpor.prewarm", "preflight"]
    run = subprocess.run(command, env=environ, capture_output=True, text=True)
    assert run.returncode == 0
    assert json.loads(run.stdout)["result"]["reason"] == "Listed"
    assert "cannot write the result" in run.stderr
