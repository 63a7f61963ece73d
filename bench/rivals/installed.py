"""The rivals, each in an environment of its own below the cache folder, from packages pinned with hashes.

An environment is named after its pins, so another version is another folder; it counts as there once its mark
is written, so an interrupted installation is done again.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from functools import partial
from pathlib import Path

from bench.frame.interpreter import optimized
from dev.cluster import HarnessError
from dev.cluster.commands import again, run
from dev.cluster.places import child_environment
from dev.cluster.progress import say, step

PINS = Path(__file__).with_name("requirements")
RIVALS = ("aws", "s5cmd", "rclone", "kserve")
INSTALL_SECONDS = 1200.0
_READY = ".ready"


def install_rivals(folder: Path, names: tuple[str, ...] = RIVALS) -> dict[str, Path]:
    """Install what is not there yet; a rival that cannot be had is said and left out."""
    there: dict[str, Path] = {}
    for name in names:
        try:
            there[name] = _install(folder, name)
        except HarnessError as failed:
            say(f"{name} cannot be had and is left out: {failed}")
    return there


def _install(folder: Path, name: str) -> Path:
    pins = PINS / f"{name}.txt"
    venv = folder / f"{name}-{hashlib.sha256(pins.read_bytes()).hexdigest()[:12]}"
    ready, python = venv / _READY, optimized()
    if ready.exists() and ready.read_text() == python:
        return venv
    with step(f"install {name} into an environment of its own (once)"):
        again(f"install {name}", partial(_make, python, venv, pins))
    ready.write_text(python)
    return venv


def _make(python: str, venv: Path, pins: Path) -> None:
    shutil.rmtree(venv, ignore_errors=True)
    venv.parent.mkdir(parents=True, exist_ok=True)
    run([python, "-m", "venv", "--without-pip", venv])
    pip = [sys.executable, "-m", "pip", "--python", venv / "bin" / "python", "install"]
    quiet = ["--quiet", "--no-input", "--progress-bar=off", "--require-hashes"]
    env = child_environment(PIP_DISABLE_PIP_VERSION_CHECK="1")
    run([*map(str, pip), *quiet, "-r", pins], env=env, timeout=INSTALL_SECONDS)
