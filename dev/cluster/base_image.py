"""The base image, a Debian with Python made by debootstrap, and the pause image: no registry asked."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from pathlib import Path

from .commands import Argument, again, run
from .errors import HarnessError
from .places import Places
from .programs import program_path
from .progress import step
from .runtime import PAUSE_IMAGE, ctr

SUITE = "bookworm"
PACKAGES = ("ca-certificates", "python3", "python3-venv")
DROPPED = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/info",
    "var/cache",
    "var/log",
)
RECIPE = "1"
"""Raise when the way the base is made changes; it is part of the tag."""


def base_tag() -> str:
    """Tag of the base image: names the recipe, since debootstrap's result is not reproducible."""
    recipe = "\0".join((SUITE, *PACKAGES, *DROPPED, RECIPE))
    return f"localhost/torpor-base:{SUITE}-{hashlib.sha256(recipe.encode()).hexdigest()[:8]}"


def ensure_base_root(places: Places) -> Path:
    """A tar of the base's root file system, made once: about 90 s."""
    tag = base_tag().rsplit(":", 1)[1]
    final = places.images / f"base-{tag}.tar"
    if final.exists():
        return final
    places.images.mkdir(parents=True, exist_ok=True)
    root = places.images / "base-root.part"
    command: list[Argument] = [
        "debootstrap",
        "--variant=minbase",
        f"--include={','.join(PACKAGES)}",
        SUITE,
        root,
    ]

    def bootstrap() -> None:
        shutil.rmtree(root, ignore_errors=True)
        run(command, timeout=1200)

    with step(f"debootstrap {SUITE} (once)"):
        again("debootstrap", bootstrap)
        for folder in (*DROPPED, "var/lib/apt/lists", "tmp"):
            shutil.rmtree(root / folder, ignore_errors=True)
        for folder in ("var/cache/apt/archives/partial", "var/lib/apt/lists/partial", "var/log"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        (root / "tmp").mkdir(mode=0o1777)
        (root / "tmp").chmod(0o1777)
        for name in ("etc/resolv.conf", "etc/hostname"):
            (root / name).unlink(missing_ok=True)
        part = final.with_suffix(".tar.part")
        run(["tar", "-C", root, "--numeric-owner", "--sort=name", "-cf", part, "."], timeout=300)
        part.rename(final)
        shutil.rmtree(root, ignore_errors=True)
    return final


def pause_archive(program: bytes) -> bytes:
    """A docker-archive of one file and no configuration beyond its entry point."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        entry = tarfile.TarInfo("pause")
        entry.size, entry.mode = len(program), 0o755
        tar.addfile(entry, io.BytesIO(program))
    config = json.dumps(
        {
            "architecture": machine_architecture(),
            "os": "linux",
            "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
            "rootfs": {
                "type": "layers",
                "diff_ids": ["sha256:" + hashlib.sha256(layer.getvalue()).hexdigest()],
            },
        }
    ).encode()
    manifest = [{"Config": "config.json", "RepoTags": [PAUSE_IMAGE], "Layers": ["layer.tar"]}]
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, content in (
            ("config.json", config),
            ("layer.tar", layer.getvalue()),
            ("manifest.json", json.dumps(manifest).encode()),
        ):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return archive.getvalue()


def machine_architecture() -> str:
    """This machine's architecture in the words of images.

    Raises:
        HarnessError: one that Kubernetes' programs are not built for here.
    """
    machine = run(["uname", "-m"]).strip()
    known = {"x86_64": "amd64", "aarch64": "arm64"}
    if machine not in known:
        raise HarnessError(f"this machine is {machine}; the harness knows {', '.join(known)}")
    return known[machine]


def ensure_pause(places: Places) -> None:
    """Import the pause image unless containerd has it."""
    held = run([*ctr(places), "images", "list", "--quiet"]).split()
    if PAUSE_IMAGE in held:
        return
    archive = places.run / "pause.tar"
    archive.write_bytes(pause_archive(program_path(places, "pause").read_bytes()))
    run([*ctr(places), "images", "import", archive])
    archive.unlink()
