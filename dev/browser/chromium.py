"""Where Chromium is on this machine, and how it gets there: from the distribution, like the harness' other packages."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from dev.cluster import HarnessError
from dev.cluster.commands import again, run
from dev.cluster.progress import step

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_chromium() -> Path | None:
    """The browser that is on PATH; None if there is none."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    return None if found is None else Path(found)


def ensure_chromium() -> Path:
    """The browser; installed with apt on first use, which takes a minute.

    Raises:
        HarnessError: there is none and apt cannot bring it.
    """
    there = find_chromium()
    if there is not None:
        return there
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise HarnessError("Chromium is missing, and only root on Debian can have it installed")
    env = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", "chromium"]

    def refresh_and_install() -> None:
        run(["apt-get", "update", "-q"], env=env)
        run([*install, "fonts-dejavu-core"], env=env, timeout=1200)

    with step("apt-get install chromium"):
        again("apt-get install chromium", refresh_and_install)
    there = find_chromium()
    if there is None:
        raise HarnessError(f"apt-get installed chromium, yet none of {', '.join(NAMES)} is on PATH")
    return there
