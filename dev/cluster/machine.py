"""What the machine must be and have: Linux, root, and a handful of Debian packages."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path

from .commands import again, run
from .errors import HarnessError
from .places import child_environment
from .progress import step

CNI_FOLDERS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
NEEDED = {
    "containerd": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ethtool": "ethtool",
    "socat": "socat",
    "buildah": "buildah",
    "skopeo": "skopeo",
    "debootstrap": "debootstrap",
    "ip": "iproute2",
    "openssl": "openssl",
}
"""Command → Debian package that brings it."""
CNI_PACKAGE = "containernetworking-plugins"
EXTRA_PATH = "/usr/local/sbin:/usr/sbin:/sbin"


def check_machine() -> None:
    """Say what is missing before anything is touched.

    Raises:
        HarnessError: not Linux, or not root.
    """
    if platform.system() != "Linux":
        raise HarnessError(
            f"the local cluster needs Linux, this is {platform.system()}: use a Linux machine or "
            "an existing cluster (make demo CONTEXT=… IMAGE=…)"
        )
    if os.geteuid() != 0:
        raise HarnessError(
            "the local cluster needs root, for containerd, network and mounts: run with sudo, or "
            "use an existing cluster (make demo CONTEXT=… IMAGE=…)"
        )


def missing_packages(needed: Mapping[str, str] = NEEDED) -> list[str]:
    """Debian packages whose command is not there, sorted; of the cluster's own also the network plugins."""
    path = os.environ.get("PATH", "") + ":" + EXTRA_PATH
    absent = {
        package for command, package in needed.items() if not shutil.which(command, path=path)
    }
    if needed is NEEDED and cni_folder() is None:
        absent.add(CNI_PACKAGE)
    return sorted(absent)


def cni_folder() -> Path | None:
    """The folder that holds the CNI plugins; None if there is none."""
    wanted = ("bridge", "host-local", "loopback")
    for folder in CNI_FOLDERS:
        if all((folder / plugin).exists() for plugin in wanted):
            return folder
    return None


def ensure_packages(needed: Mapping[str, str] = NEEDED) -> None:
    """Install what is missing with apt; *needed* names for each command the package that brings it.

    Raises:
        HarnessError: no apt here, or it failed four times.
    """
    missing = missing_packages(needed)
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise HarnessError(f"missing and no apt-get to install it: {', '.join(missing)}")
    env = child_environment(DEBIAN_FRONTEND="noninteractive")
    install = ["apt-get", "install", "-y", "--no-install-recommends", *missing]

    def refresh_and_install() -> None:
        run(["apt-get", "update", "-q"], env=env)
        run(install, env=env, timeout=1200)

    with step(f"apt-get install {' '.join(missing)}"):
        again("apt-get install", refresh_and_install)
    still = missing_packages(needed)
    if still:
        raise HarnessError(f"installed, yet their commands are not on PATH: {', '.join(still)}")
