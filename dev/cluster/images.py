"""Images by content: built by buildah from this checkout, handed to containerd without a registry.

An image's tag is the hash of its Dockerfile, the files that one copies and the base. A tag that
containerd holds is therefore never built again, and layers that it holds are not sent again.
"""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .base_image import base_tag, ensure_base_root
from .commands import Argument, again, run
from .dockerfile import lay_out
from .errors import HarnessError
from .pip_access import BUILD_FOLDER, prepare_pip_access
from .places import Places, child_environment
from .progress import say, step
from .runtime import ctr

KEPT = 20
"""Tags kept per image: running tests may still use the one before this edit."""


@dataclass(frozen=True)
class Recipe:
    """Where an image comes from: a Dockerfile whose context is the checkout's root."""

    repository: str
    dockerfile: str


RECIPES = {
    "torpor": Recipe("localhost/torpor", "Dockerfile"),
    "engine": Recipe("localhost/torpor-engine", "dev/engine/Dockerfile"),
    "vllm": Recipe("localhost/torpor-vllm", "dev/vllm/Dockerfile"),
}


def tag_for(recipe: Recipe, content: str, base: str) -> str:
    """The tag of these contents on this base."""
    both = hashlib.sha256(f"{content} {base}".encode()).hexdigest()
    return f"{recipe.repository}:{both[:12]}"


def find_recipe(name: str) -> Recipe:
    """The recipe of an image.

    Raises:
        HarnessError: no image is called that.
    """
    if name not in RECIPES:
        raise HarnessError(f"no image is called {name}; there are {', '.join(RECIPES)}")
    return RECIPES[name]


class ImageStore:
    """buildah's storage in the cache and containerd's in the cluster, kept in step."""

    def __init__(self, where: Places) -> None:
        self._places = where

    def exists(self, name: str) -> bool:
        """Whether this checkout has the image's Dockerfile."""
        return (self._places.repo / find_recipe(name).dockerfile).exists()

    def tag(self, name: str) -> str:
        """The tag that the checkout's present content has, built or not."""
        with tempfile.TemporaryDirectory(prefix="torpor-layout-") as scratch:
            return self._lay_out(name, Path(scratch) / name)

    def _lay_out(self, name: str, into: Path) -> str:
        recipe = find_recipe(name)
        dockerfile = self._places.repo / recipe.dockerfile
        if not dockerfile.exists():
            raise HarnessError(f"image {name} is made from {recipe.dockerfile}, which is not here")
        return tag_for(recipe, lay_out(self._places.repo, dockerfile, into), base_tag())

    def ensure(self, name: str) -> str:
        """Build and import the image unless containerd holds this content; returns the tag."""
        if not self._places.containerd_socket.exists():
            raise HarnessError("the cluster is not up: run `python3 -m dev.cluster up` first")
        tag = self._lay_out(name, self._layout(name))
        if tag in self._held():
            return tag
        with step(f"image {name} → {tag}"):
            self._ensure_base()
            with step("build", quiet_below=1.0):
                self._build(name, tag)
            with step("import", quiet_below=1.0):
                self._import(name, tag)
            self._forget_old(name, tag)
        return tag

    def _layout(self, name: str) -> Path:
        return self._places.images / "layout" / name

    def _held(self) -> list[str]:
        return run([*ctr(self._places), "images", "list", "--quiet"]).split()

    def _policy(self) -> Path:
        """Local images carry no signature; both tools want to hear that this is all right."""
        policy = self._places.run / "buildah" / "policy.json"
        policy.parent.mkdir(parents=True, exist_ok=True)
        policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        return policy

    def _buildah(self, *words: Argument, timeout: float = 1800.0) -> str:
        where = self._places
        roots: list[Argument] = [
            "--root",
            where.images / "storage",
            "--runroot",
            where.run / "buildah",
        ]
        env = child_environment(BUILDAH_ISOLATION="chroot", STORAGE_DRIVER=storage_driver(where))
        head, *rest = words
        signed: list[Argument] = ["--signature-policy", self._policy()] if head == "bud" else []
        return run(["buildah", *roots, head, *signed, *rest], env=env, timeout=timeout)

    def _ensure_base(self) -> None:
        if self._buildah("images", "--quiet", "--filter", f"reference={base_tag()}").strip():
            return
        archive = ensure_base_root(self._places)
        folder = self._layout("base")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "Dockerfile").write_text(f"FROM scratch\nADD {archive.name} /\n")
        link = folder / archive.name
        link.unlink(missing_ok=True)
        link.hardlink_to(archive)
        with step(f"base image {base_tag()} (once)"):
            self._buildah("bud", "--tag", base_tag(), folder)
        link.unlink()

    def _build(self, name: str, tag: str) -> None:
        layout = self._layout(name)
        access = prepare_pip_access(self._places)
        command: list[Argument] = ["bud", "--layers", "--pull-never", "--timestamp", "946684800"]
        command += ["--build-arg", f"BASE={base_tag()}", "--tag", tag]
        command += ["--volume", f"{access}:{BUILD_FOLDER}"]
        command += ["--volume", f"{access / 'pip.conf'}:/etc/pip.conf:ro"]
        command += ["--file", layout / "Dockerfile", layout / "context"]
        again(f"build of image {name}", lambda: self._buildah(*command), tries=3)

    def _import(self, name: str, tag: str) -> None:
        transit = self._places.images / "transit" / name
        transit.mkdir(parents=True, exist_ok=True)
        (transit / "index.json").unlink(missing_ok=True)
        roots = f"{self._places.images / 'storage'}+{self._places.run / 'buildah'}"
        source = f"containers-storage:[{storage_driver(self._places)}@{roots}]{tag}"
        copy: list[Argument] = ["skopeo", "--policy", self._policy(), "copy", "--quiet"]
        run([*copy, "--dest-oci-accept-uncompressed-layers", source, f"oci:{transit}:current"])
        held = set(run([*ctr(self._places), "content", "list", "--quiet"]).split())
        try:
            self._send(transit, tag, held)
        except HarnessError as refused:
            say(f"import without the layers that containerd holds failed, sending all: {refused}")
            self._send(transit, tag, set())

    def _send(self, transit: Path, tag: str, held: set[str]) -> None:
        """Stream an OCI archive into containerd, without blobs that it has."""
        index = json.loads((transit / "index.json").read_text())
        [described] = index["manifests"]
        manifest = json.loads(_blob(transit, described["digest"]).read_text())
        parts = [manifest["config"], *manifest["layers"]]
        wanted = [described["digest"], *(part["digest"] for part in parts)]
        described["annotations"] = {"io.containerd.image.name": tag}
        command = [str(word) for word in (*ctr(self._places), "images", "import", "-")]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as importer:
            assert importer.stdin is not None
            assert importer.stderr is not None
            try:
                with tarfile.open(fileobj=importer.stdin, mode="w|") as tar:
                    _add(tar, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
                    _add(
                        tar, "index.json", json.dumps({**index, "manifests": [described]}).encode()
                    )
                    for digest in wanted:
                        if digest not in held or digest == described["digest"]:
                            tar.add(_blob(transit, digest), _blob_name(digest))
            except BrokenPipeError:
                say("containerd stopped reading the image")
            importer.stdin.close()
            told = importer.stderr.read().decode(errors="replace")
        if importer.returncode != 0 or tag not in self._held():
            raise HarnessError(f"containerd did not take image {tag}: {told.strip()[-500:]}")
        keep = {_blob(transit, digest) for digest in wanted}
        for path in (transit / "blobs" / "sha256").iterdir():
            if path not in keep:
                path.unlink()

    def _forget_old(self, name: str, tag: str) -> None:
        """Keep the newest tags of an image, drop what is older from both stores."""
        kept = self._places.images / f"tags-{name}.json"
        tags: list[str] = json.loads(kept.read_text()) if kept.exists() else []
        tags = [old for old in tags if old != tag] + [tag]
        for old in tags[:-KEPT]:
            if old in self._held():
                run([*ctr(self._places), "images", "remove", old])
            if self._buildah("images", "--quiet", "--filter", f"reference={old}").strip():
                self._buildah("rmi", old)
        kept.write_text(json.dumps(tags[-KEPT:]))


def storage_driver(where: Places) -> str:
    """`overlay` where the kernel can lay one over the cache's file system, else `vfs` (slower)."""
    verdict = where.images / "storage-driver"
    if not verdict.exists():
        trial = where.images / "overlay-trial"
        layers = {name: trial / name for name in ("lower", "upper", "work", "merged")}
        for folder in layers.values():
            folder.mkdir(parents=True, exist_ok=True)
        options = "lowerdir={lower},upperdir={upper},workdir={work}".format(**layers)
        try:
            run(["mount", "-t", "overlay", "overlay", "-o", options, layers["merged"]])
            run(["umount", layers["merged"]])
            verdict.write_text("overlay")
        except HarnessError:
            verdict.write_text("vfs")
    return verdict.read_text()


def _blob_name(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def _blob(transit: Path, digest: str) -> Path:
    return transit / _blob_name(digest)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))
