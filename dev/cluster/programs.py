"""Build the cluster's programs from the Go module proxy into the cache, once per version.

Each program is built under a temporary name and renamed, so an interrupted build is simply done
again; Go's own build cache makes the second try short. A failed download is tried again.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .commands import again, run
from .errors import HarnessError
from .places import Places, child_environment
from .progress import step

KUBERNETES = "1.34.4"
ETCD = "3.6.4"
HELM = "3.22.0"
VERSITYGW = "1.8.0"
PAUSE = "1"
OLDEST_GO = (1, 24)


@dataclass(frozen=True)
class Program:
    """One program: its package, version, and whether it stands in our own module or by itself."""

    name: str
    version: str
    package: str
    ours: bool = True


def _kubernetes(name: str) -> Program:
    return Program(name, KUBERNETES, f"k8s.io/kubernetes/cmd/{name}")


PROGRAMS: dict[str, Program] = {
    program.name: program
    for program in (
        _kubernetes("kube-apiserver"),
        _kubernetes("kube-controller-manager"),
        _kubernetes("kube-scheduler"),
        _kubernetes("kubelet"),
        _kubernetes("kube-proxy"),
        _kubernetes("kubeadm"),
        _kubernetes("kubectl"),
        Program("etcd", ETCD, "go.etcd.io/etcd/server/v3"),
        Program("pause", PAUSE, "./pause"),
        Program("versitygw", VERSITYGW, "github.com/versity/versitygw/cmd/versitygw", ours=False),
        Program("helm", HELM, "helm.sh/helm/v3/cmd/helm", ours=False),
    )
}


def program_path(places: Places, name: str) -> Path:
    """Where a program lies once it is built; the version is part of the folder's name."""
    program = PROGRAMS[name]
    return places.programs / f"{name}@{program.version}" / name


def linker_flags(version: str) -> str:
    """Flags that make Kubernetes' programs know their version; without them it is v0.0.0."""
    major, minor, _ = version.split(".")
    stamp = "-X k8s.io/component-base/version.git"
    return f"-s -w {stamp}Version=v{version} {stamp}Major={major} {stamp}Minor={minor}"


def build_command(go: str, program: Program, into: Path) -> list[str]:
    """The go command that leaves the program in the folder `into`."""
    if program.ours:
        flags = linker_flags(KUBERNETES)
        out = str(into / program.name)
        return [
            go,
            "build",
            "-mod=readonly",
            "-trimpath",
            "-ldflags",
            flags,
            "-o",
            out,
            program.package,
        ]
    return [
        go,
        "install",
        "-trimpath",
        "-ldflags",
        "-s -w",
        f"{program.package}@v{program.version}",
    ]


def ensure_program(places: Places, name: str) -> Path:
    """Build one program unless it is in the cache; returns where it lies.

    Raises:
        HarnessError: no program is called that, or it cannot be built.
    """
    if name not in PROGRAMS:
        raise HarnessError(f"no program is called {name}; there are {', '.join(PROGRAMS)}")
    _ensure(places, [PROGRAMS[name]])
    return program_path(places, name)


def ensure_programs(places: Places) -> None:
    """Build whatever is not in the cache: about ten minutes the first time on two cores."""
    _ensure(places, list(PROGRAMS.values()))


def _ensure(places: Places, wanted: list[Program]) -> None:
    missing = [program for program in wanted if not program_path(places, program.name).exists()]
    if not missing:
        return
    go = find_go()
    places.programs.mkdir(parents=True, exist_ok=True)
    for program in missing:
        with step(f"build {program.name} {program.version} (once)"):
            again(f"build {program.name}", partial(_build, places, go, program))


def find_go() -> str:
    """The go command.

    Raises:
        HarnessError: absent or older than Kubernetes 1.34 accepts.
    """
    go = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
    oldest = ".".join(map(str, OLDEST_GO))
    if go is None:
        raise HarnessError(
            f"go is not installed; the cluster's programs are built with Go {oldest} or newer: "
            "install it from https://go.dev/dl and put it on PATH"
        )
    found = re.search(r"go(\d+)\.(\d+)", run([go, "version"]))
    if found is None or (int(found[1]), int(found[2])) < OLDEST_GO:
        raise HarnessError(
            f"{go} is {found[0] if found else 'unknown'}; Go {oldest} or newer is needed"
        )
    return go


def _build(places: Places, go: str, program: Program) -> None:
    final = program_path(places, program.name)
    scratch = final.parent / f"part-{os.getpid()}"
    scratch.mkdir(parents=True, exist_ok=True)
    env = child_environment(CGO_ENABLED="0", GOBIN=str(scratch))
    module = places.repo / "dev" / "cluster" / "binaries"
    try:
        where = module if program.ours else places.programs
        run(build_command(go, program, scratch), cwd=where, env=env, timeout=3600)
        (scratch / program.name).rename(final)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
