"""The house stands as planned: where packages are, what ships, how long a file may be."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
LONGEST_FILE = 300


def tracked(*patterns: str) -> list[Path]:
    """Files of the checkout that git knows or would add, so that build output never counts."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [
        path for line in sorted(set(done.stdout.splitlines())) if (path := ROOT / line).is_file()
    ]


def test_operator_is_a_source_root_and_never_a_package() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()
    assert [path.name for path in (ROOT / "operator").iterdir() if path.suffix != ".egg-info"] == [
        "torpor"
    ]


def test_import_operator_still_gives_the_standard_library_at_the_root() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import operator; print(operator.__file__)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert not Path(done.stdout.strip()).is_relative_to(ROOT / "operator")


def test_the_wheel_holds_torpor_and_nothing_else(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"torpor"}
    shipped = {name for name in names if name.startswith("torpor/")}
    source = {path.relative_to(ROOT / "operator").as_posix() for path in tracked("operator/**")}
    assert shipped == source
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_no_source_file_is_longer_than_a_reader_can_hold() -> None:
    long = {
        path.relative_to(ROOT).as_posix(): lines
        for path in tracked("operator/**", "dev/**.py", "bench/**.py")
        if (lines := len(path.read_text().splitlines())) > LONGEST_FILE
    }
    assert not long


@pytest.mark.parametrize("room", ["operator/torpor", "dev"])
def test_no_module_is_called_utils_or_helpers(room: str) -> None:
    vague = {"utils.py", "util.py", "helpers.py", "helper.py", "misc.py", "common.py"}
    assert not [path for path in tracked(f"{room}/**.py") if path.name in vague]


def test_the_pinned_versions_satisfy_what_the_package_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = {
        "runtime": project["project"]["dependencies"],
        "dev": project["project"]["dependencies"] + project["dependency-groups"]["dev"],
    }
    for name, requirements in asked.items():
        lines = (ROOT / "constraints" / f"{name}.txt").read_text().splitlines()
        found = [
            line.split(";")[0].split("\\")[0].strip()
            for line in lines
            if "==" in line.split("#")[0]
        ]
        pins = {pin.split("==")[0].lower().replace("_", "-"): pin.split("==")[1] for pin in found}
        for text in requirements:
            wanted = Requirement(text)
            pinned = pins.get(wanted.name.lower().replace("_", "-"))
            assert pinned, (
                f"{wanted.name} is not pinned in constraints/{name}.txt; run `make constraints`"
            )
            assert wanted.specifier.contains(pinned), f"{wanted} is pinned to {pinned}"


@pytest.mark.parametrize("name", ["build", "runtime", "dev"])
def test_every_pin_carries_hashes(name: str) -> None:
    text = (ROOT / "constraints" / f"{name}.txt").read_text()
    entries = [
        entry for entry in text.replace("\\\n", " ").splitlines() if entry and entry[0].isalnum()
    ]
    assert entries
    assert not [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry]
