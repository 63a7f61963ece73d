"""Nothing in the tree points to one machine: no home folder, no checkout path, no private package index."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SELF = Path(__file__).resolve()
TEXT = {
    ".cfg", ".css", ".go", ".html", ".in", ".ini", ".js", ".json", ".md", ".mod", ".py", ".sh", ".toml", ".tpl", ".txt",
    ".yaml", ".yml", "",
}  # fmt: skip

TRACES = {
    "a home folder": re.compile(r"(?<![\w.])/(?:home|Users)/[a-z][\w.-]*/|(?<![\w.~])/root/"),
    "the checkout's own path": re.compile(re.escape(str(ROOT)) + r"(?![\w-])"),
    "an option that names a package index": re.compile(
        r"--(?:extra-)?index-url[ =]|--trusted-host|PIP_INDEX_URL=\S|GOPROXY=http|goproxy\s*="
    ),
    "a private key": re.compile(r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----"),
    "a cloud key": re.compile(r"\bAKIA(?!IOSFODNN7EXAMPLE)[0-9A-Z]{16}\b"),
}


def texts() -> list[Path]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    paths = [ROOT / line for line in sorted(set(done.stdout.splitlines()))]
    return [path for path in paths if path.is_file() and path.suffix in TEXT and path != SELF]


@pytest.mark.parametrize("trace", TRACES)
def test_no_file_contains(trace: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}"
        for path in texts()
        if trace != "a home folder" or path.name != "Dockerfile"  # there it is the image's own
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if TRACES[trace].search(line)
    ]
    assert not found


def test_constraints_name_no_host() -> None:
    for path in (ROOT / "constraints").iterdir():
        assert "://" not in path.read_text(), path.name
