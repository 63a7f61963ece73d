"""Where the demo happens: the harness's own cluster, or one that the user named and torpor only visits."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dev.cluster import Cluster, HarnessError
from dev.install import (
    Bucket,
    Images,
    Installed,
    Kube,
    definitions_exist,
    install,
    kube_of,
    release_exists,
    uninstall,
)
from dev.install.chart import GATEWAY_SERVICE, NAMESPACE, ROOT, install_chart
from dev.vllm.layout import Layout, find_layout

from .telling import Narrator

ASKED = ("S3_ENDPOINT", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
"""What a cluster of the user's needs in the environment, beside CONTEXT and IMAGE."""


@dataclass(frozen=True)
class Wish:
    """What the command line asked for."""

    keep: bool = False
    engine: str = "standin"
    context: str | None = None
    image: str | None = None


@dataclass(frozen=True)
class Place:
    """An installation for the demo."""

    torpor: Installed
    bucket: str
    """Name of the S3 bucket that the weights go to."""
    vllm_image: str | None = None
    vllm: Layout | None = None
    """Set when the real engine is shown."""
    reach: str = ""
    """Command that lets the user's shell reach the cluster and its gateway, for KEEP=1."""


@contextmanager
def open_place(wish: Wish, narrator: Narrator) -> Iterator[Place]:
    """Give an installed torpor; afterwards everything is as before, unless it is to be kept.

    Raises:
        HarnessError: says what is missing.
    """
    if wish.context is None:
        with _harness(wish, narrator) as place:
            yield place
    else:
        with _visited(wish, narrator) as place:
            yield place


@contextmanager
def _harness(wish: Wish, narrator: Narrator) -> Iterator[Place]:
    before = Cluster()
    found_up = before.is_healthy()
    narrator.chapter("a Kubernetes cluster, with eight GPUs that it believes in, and an S3 server")
    cluster = Cluster.up()
    kube = kube_of(cluster)
    had_release = found_up and release_exists(kube)
    had_definitions = found_up and definitions_exist(kube)
    try:
        narrator.show("kubectl get nodes", kube.run("get", "nodes"))
        layout = _prepare_vllm(narrator) if wish.engine == "vllm" else None
        narrator.chapter("torpor, from this checkout, by its chart")
        narrator.say("building what has changed, then helm upgrade --install torpor charts/torpor")
        torpor = install(cluster)
        vllm_image = cluster.image("vllm") if layout else None
        narrator.show(f"kubectl get pods -n {NAMESPACE}", kube.run("get", "pods", "-n", NAMESPACE))
        reach = 'eval "$(python3 -m dev.cluster env)"'
        yield Place(torpor, "torpor-demo", vllm_image, layout, reach)
    finally:
        if wish.keep:
            pass
        elif not found_up:
            narrator.say("taking the cluster down, which this demo had brought up")
            cluster.down()
        elif not had_release:
            narrator.say("removing torpor, which this demo had installed")
            uninstall(kube, definitions=not had_definitions)
        else:
            narrator.say(
                "cluster and torpor were there before and stay: make cluster-down ends them"
            )


def _prepare_vllm(narrator: Narrator) -> Layout:
    """Set up the real engine; minutes the first time, nothing when it is there."""
    narrator.say("the real vLLM, for the CPU: installed once, some four minutes")
    # A program of its own, run by the system's Python: the engine's packages never enter ours.
    done = subprocess.run(["python3", "-m", "dev.vllm", "setup"], cwd=ROOT)
    layout = find_layout()
    if done.returncode != 0 or not layout.is_ready():
        raise HarnessError("vLLM could not be set up; `python3 -m dev.vllm setup` says why")
    return layout


@contextmanager
def _visited(wish: Wish, narrator: Narrator) -> Iterator[Place]:
    narrator.chapter(f"your cluster: context {wish.context}")
    kube = Kube(_program("kubectl"), _program("helm"), context=wish.context)
    images, bucket = read_images(wish, os.environ), read_bucket(os.environ)
    narrator.show("kubectl get nodes", kube.run("get", "nodes"))
    if release_exists(kube):
        raise HarnessError(
            f"torpor is installed in {wish.context} already, and the demo does not change an"
            f" installation it did not make: helm uninstall torpor -n {NAMESPACE} first"
        )
    had_definitions = definitions_exist(kube)
    narrator.chapter("torpor, by its chart")
    try:
        install_chart(kube, images)
        narrator.show(f"kubectl get pods -n {NAMESPACE}", kube.run("get", "pods", "-n", NAMESPACE))
        with kube.forwarding(f"service/{GATEWAY_SERVICE}", 80, NAMESPACE) as gateway:
            reach = f"kubectl port-forward -n {NAMESPACE} service/{GATEWAY_SERVICE} 8000:80 &"
            name = os.environ.get("S3_BUCKET", "torpor-demo")
            yield Place(Installed(kube, bucket, images, gateway), name, reach=reach)
    finally:
        if not wish.keep:
            narrator.say("removing torpor from your cluster")
            uninstall(kube, definitions=not had_definitions)


def _program(name: str) -> Path:
    found = shutil.which(name)
    if found is None:
        raise HarnessError(f"{name} is not in PATH; CONTEXT=… uses your own")
    return Path(found)


def read_images(wish: Wish, environment: Mapping[str, str]) -> Images:
    """Return the images for a cluster of the user's.

    Raises:
        HarnessError: one is missing, or the real engine is asked for.
    """
    if not wish.image:
        raise HarnessError("CONTEXT=… needs IMAGE=…, torpor's image where that cluster can pull it")
    if wish.engine != "standin":
        raise HarnessError(
            "ENGINE=vllm is for the harness's cluster: that vLLM lies on this machine"
        )
    engine = environment.get("ENGINE_IMAGE", "")
    if not engine:
        raise HarnessError(
            "CONTEXT=… needs ENGINE_IMAGE=…, the stand-in engine where that cluster can pull it:"
            " docker build -f dev/engine/Dockerfile -t … ."
        )
    return Images(wish.image, engine)


def read_bucket(environment: Mapping[str, str]) -> Bucket:
    """Return the S3 server for a cluster of the user's.

    Raises:
        HarnessError: something is not set; names it.
    """
    missing = [name for name in ASKED if not environment.get(name)]
    if missing:
        raise HarnessError(
            f"CONTEXT=… needs {', '.join(missing)}: an S3 server that both this machine and that"
            " cluster's pods reach, and keys that may write to its bucket S3_BUCKET (torpor-demo)"
        )
    endpoint, access, secret = (environment[name] for name in ASKED)
    return Bucket(endpoint, environment.get("S3_REGION", "us-east-1"), access, secret)
