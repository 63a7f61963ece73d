"""Which Python runs what is measured, as images have it, and what it has used.

An interpreter built without profile-guided optimization, as version managers build theirs unless told otherwise, takes
about a fifth more time for the same work. Images have a distribution's or Docker's, which are optimized; so has what is
measured, rivals in Python too, if this machine has one of the version that the packages were installed for. Images
have torpor compiled to byte code, too, and nothing that a machine adds to the start of each of its interpreters.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import site
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from dev.cluster.progress import say

DISTRIBUTION = Path("/usr/bin/python3")
OPTIMIZED = "--enable-optimizations"
TICKS = os.sysconf("SC_CLK_TCK")
_VERSION = "import sys; print(*sys.version_info[:2])"
_HERE = Path(__file__).resolve().parents[2]


@functools.cache
def as_shipped() -> tuple[str, dict[str, str]]:
    """Return an optimized interpreter, and what its environment must have to find our packages.

    Torpor's own is a compiled copy of what the working tree has now; it is removed with this process.
    """
    folder = Path(tempfile.mkdtemp(prefix="torpor-shipped-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    code, home = folder / "code", folder / "python"
    shutil.copytree(
        _HERE / "operator" / "torpor", code / "torpor", ignore=shutil.ignore_patterns("__pycache__")
    )
    subprocess.run([optimized(), "-m", "venv", "--without-pip", home], check=True)
    python = str(home / "bin" / "python")
    compiling = [python, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    subprocess.run([*compiling, str(code)], check=True)
    path = [str(code), str(_HERE), *site.getsitepackages()]
    return python, {"PYTHONPATH": os.pathsep.join(path)}


@functools.cache
def optimized() -> str:
    """Return an interpreter that is optimized by profile, if there is one of our version."""
    if OPTIMIZED in (sysconfig.get_config_var("CONFIG_ARGS") or ""):
        return sys.executable
    own = f"{sys.version_info[0]} {sys.version_info[1]}"
    if not DISTRIBUTION.exists() or _version_of(DISTRIBUTION) != own:
        say(
            f"{sys.executable} is not optimized, and there is no other Python {own}: it is measured"
        )
        return sys.executable
    say(f"{DISTRIBUTION} is measured, for {sys.executable} is not optimized")
    return str(DISTRIBUTION)


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used, in user and system mode."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / TICKS


def _version_of(python: Path) -> str:
    asked = [str(python), "-c", _VERSION]
    return subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
