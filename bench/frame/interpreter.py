"""Which Python runs what is measured, and what it has used.

An interpreter built without profile-guided optimization, as version managers build theirs unless told otherwise, takes
about a fifth more time for the same work. Images have a distribution's or Docker's, which are optimized; so has what is
measured, rivals in Python too, if this machine has one of the version that the packages were installed for.
"""

from __future__ import annotations

import functools
import os
import site
import subprocess
import sys
import sysconfig
from pathlib import Path

from dev.cluster.progress import say

DISTRIBUTION = Path("/usr/bin/python3")
OPTIMIZED = "--enable-optimizations"
TICKS = os.sysconf("SC_CLK_TCK")
_VERSION = "import sys; print(*sys.version_info[:2])"


@functools.cache
def as_shipped() -> tuple[str, dict[str, str]]:
    """Return an optimized interpreter, and what its environment must have to find our packages."""
    here = Path(__file__).resolve().parents[2]
    path = [str(here), str(here / "operator"), *site.getsitepackages()]
    env = {"PYTHONPATH": os.pathsep.join(path)}
    if OPTIMIZED in (sysconfig.get_config_var("CONFIG_ARGS") or ""):
        return sys.executable, env
    own = f"{sys.version_info[0]} {sys.version_info[1]}"
    if not DISTRIBUTION.exists() or _version_of(DISTRIBUTION) != own:
        say(
            f"{sys.executable} is not optimized, and there is no other Python {own}: it is measured"
        )
        return sys.executable, {}
    say(f"the gateway runs on {DISTRIBUTION}, for {sys.executable} is not optimized")
    here = Path(__file__).resolve().parents[2]
    path = [str(here), str(here / "operator"), *site.getsitepackages()]
    return str(DISTRIBUTION), {"PYTHONPATH": os.pathsep.join(path)}


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used, in user and system mode."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / TICKS


def _version_of(python: Path) -> str:
    asked = [str(python), "-c", _VERSION]
    return subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
