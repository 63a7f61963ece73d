"""Every snippet is held to what exists: objects fit the models, commands name real targets, verbs and files."""

import ast
import importlib
import itertools
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from tests.docs.reading import ROOT, Block, blocks, commands
from torpor.api.endpoint import InferenceEndpoint
from torpor.api.gpuclass import GPUClass

KINDS: dict[str, type[BaseModel]] = {"InferenceEndpoint": InferenceEndpoint, "GPUClass": GPUClass}
KUBECTL = {
    "annotate",
    "api-resources",
    "apply",
    "config",
    "create",
    "delete",
    "describe",
    "edit",
    "exec",
    "explain",
    "get",
}
KUBECTL |= {"label", "logs", "patch", "port-forward", "rollout", "run", "scale", "top", "wait"}
HELM = {"install", "upgrade", "uninstall", "template", "lint", "list", "show"}
DOCKER = {"build", "push"}
READERS = {
    "report": "torpor.report.program",
    "prices": "torpor.prices.program",
    "simulate": "torpor.simulate.program",
}
"""Programs of torpor's that read their own command line: what documents say is read by them."""
FLAGS_WITH_VALUE = {
    "-n",
    "--namespace",
    "-o",
    "--context",
    "--kubeconfig",
    "-f",
    "--set",
    "--values",
    "-l",
}


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_yaml_parses_and_fits_the_models(block: Block) -> None:
    for document in yaml.safe_load_all(block.text):
        assert document is not None
        if str(document.get("apiVersion", "")).startswith("torpor.dev/"):
            KINDS[document["kind"]].model_validate(document)


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_python_compiles_and_imports_what_exists(block: Block) -> None:
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and node.module:
            module = importlib.import_module(node.module)
            assert [name.name for name in node.names if not hasattr(module, name.name)] == []
        if isinstance(node, ast.Import):
            for name in node.names:
                importlib.import_module(name.name)


def test_json_parses() -> None:
    for block in blocks("json"):
        json.loads(block.text)


@pytest.mark.parametrize("block", blocks("sh", "bash", "shell"), ids=str)
def test_shell_commands_exist(block: Block) -> None:
    for command in commands(block):
        for part in re.split(r"\s(?:\||&&|;)\s", command):
            check_command(part)


def check_command(command: str) -> None:
    """Fail unless the command's program, its verb and the files it names are there."""
    words = [word for word in shlex.split(command) if not re.match(r"^[A-Z][A-Z0-9_]*=", word)] or [
        "export"
    ]
    program, rest = words[0], words[1:]
    plain = without_flags(rest)
    match program:
        case "make":
            targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.M))
            assert set(plain) <= targets, f"no such target: {command}"
        case "kubectl":
            assert plain[0] in KUBECTL, f"no such verb: {command}"
        case "helm":
            assert plain[0] in HELM, f"no such verb: {command}"
            assert "charts/" not in command or "charts/torpor" in plain, command
        case "docker":
            assert plain[0] in DOCKER, f"no such verb: {command}"
        case "torpor":
            check_own_command(rest, command)
        case _:
            local = program.startswith(".") and (ROOT / program).exists()
            assert local or program in {
                "curl",
                "export",
                "eval",
                "git",
                "python3",
                "cd",
                "printf",
            }, command
    for flag, value in itertools.pairwise(rest):
        if flag == "-f" and not value.startswith(("-", "http")):
            assert (ROOT / value).exists(), f"{value} is not in the repository: {command}"


def check_own_command(rest: list[str], command: str) -> None:
    """Fail unless torpor has the program; those that only print are run as they stand."""
    if rest[0] in READERS:
        parser = importlib.import_module(READERS[rest[0]]).parser()
        parser.parse_args(rest[1 : rest.index(">") if ">" in rest else None])
        return
    alone = rest[0] in {"crd", "key"}
    done = subprocess.run(
        [sys.executable, "-m", "torpor", *(rest if alone else ["--help"])],
        cwd=ROOT / "operator",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"torpor refuses it: {command}\n{done.stderr}"
    assert alone or re.search(rf"^ +{re.escape(rest[0])} ", done.stdout, re.M), command


def without_flags(words: list[str]) -> list[str]:
    """Words that are neither flags nor the values of flags that take one."""
    found, skip = [], False
    for word in words:
        if skip:
            skip = False
        elif word.startswith("-"):
            skip = word in FLAGS_WITH_VALUE
        else:
            found.append(word)
    return found


@pytest.mark.parametrize(
    "path", sorted((ROOT / "examples").rglob("*.yaml")), ids=lambda p: p.parent.name
)
def test_every_example_fits_the_models(path: Path) -> None:
    for document in yaml.safe_load_all(path.read_text()):
        if document["kind"] in KINDS:
            KINDS[document["kind"]].model_validate(document)
