"""Leave nothing behind: pods, shims, mounts, cgroups and folders of a cluster we made.

Works from whatever state a crash left, so it relies on no daemon: it recognises what is ours by
recorded identities, by the mark in the environment, by containerd's socket in a shim's arguments
and by paths below our own folders.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

from . import processes
from .commands import succeeds
from .errors import HarnessError
from .network import drop_network
from .node import cgroup_folders
from .places import WEIGHTS, Places
from .programs import program_path

FIRST_TO_STOP = ("kubelet", "kube-controller-manager", "kube-scheduler", "kube-proxy")
LOG_LINKS = Path("/var/log/containers")
SIDE_EFFECTS = (
    Path("/var/lib/kubelet"),
    LOG_LINKS,
    Path("/var/lib/cni"),
    Path("/etc/cni"),
    Path("/opt/cni"),
)
"""Folders that kubelet, containerd or plugins make outside ours whatever they are told."""


def note_footprint(places: Places, folders: Iterable[Path] = (*SIDE_EFFECTS, WEIGHTS)) -> None:
    """Before the first start: which of the side effects' folders were not here before us."""
    note = places.state / "made-by-us.json"
    if note.exists():
        return
    absent = [str(folder) for folder in folders if not folder.exists()]
    note.parent.mkdir(parents=True, exist_ok=True)
    part = note.with_suffix(".part")
    part.write_text(json.dumps(absent))
    part.rename(note)


def made_by_us(places: Places) -> list[Path]:
    """Folders outside our own roots that did not exist before the harness's first start."""
    note = places.state / "made-by-us.json"
    return [Path(path) for path in json.loads(note.read_text())] if note.exists() else []


def shims(places: Places) -> list[processes.Identity]:
    """Processes of containerd's shim that serve our socket."""
    ours = str(places.containerd_socket)
    found = []
    for pid in processes.every_pid():
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if "containerd-shim" in words[0] and ours in words:
            found.append(pid)
    return processes.identify(found)


def stop_everything(places: Places) -> None:
    """End every process of the cluster, pods included; those that would restart others first."""
    recorded = processes.all_recorded(places)
    first = [recorded[name] for name in FIRST_TO_STOP if name in recorded]
    processes.stop(first, grace=2.0)
    rest = [identity for name, identity in recorded.items() if name not in FIRST_TO_STOP]
    shim = shims(places)
    processes.stop(processes.descendants(shim), grace=0.0)
    processes.stop([*rest, *shim], grace=2.0)
    processes.stop([*processes.marked(places), *shims(places)], grace=0.0)
    shutil.rmtree(places.pids, ignore_errors=True)


def mounts_below(mountinfo: str, folders: list[Path]) -> list[str]:
    """Mount points at or below the folders, deepest and latest first."""
    points = []
    for line in mountinfo.splitlines():
        point = line.split()[4].encode().decode("unicode_escape")
        if any(Path(point) == folder or folder in Path(point).parents for folder in folders):
            points.append(point)
    return points[::-1]


def unmount_everything(places: Places) -> None:
    """Unmount what pods and shims left, lazily where somebody still looks."""
    folders = [places.run, places.state, places.images]
    table = Path("/proc/self/mountinfo")
    for point in mounts_below(table.read_text(), folders):
        if not succeeds(["umount", point]):
            succeeds(["umount", "--lazy", point])
    left = mounts_below(table.read_text(), folders)
    if left:
        raise HarnessError(
            f"{left[0]} cannot be unmounted; nothing below it is deleted, for it may be a pod's "
            "host folder: unmount it by hand and run `down` again"
        )


def remove_cgroups() -> None:
    """Remove the pods' cgroups, innermost first; a group that is busy is left."""
    for root in cgroup_folders():
        if not root.is_dir():
            continue
        inner = sorted((p for p in root.rglob("*") if p.is_dir()), key=lambda p: -len(p.parts))
        for group in (*inner, root):
            try:
                group.rmdir()
            except OSError:
                continue


def remove_log_links(places: Places, folder: Path = LOG_LINKS) -> None:
    """The kubelet's links to container logs that point into our pod logs."""
    if not folder.is_dir():
        return
    for link in folder.iterdir():
        if link.is_symlink() and places.pod_logs in link.readlink().parents:
            link.unlink()


def half_gone(places: Places) -> Path:
    """Exists while a sweep is under way or was interrupted: what stands is not worth repairing."""
    return places.run / "going-down"


def sweep(places: Places) -> None:
    """From any state to: nothing runs, nothing is mounted, no interface, no rule, no cgroup."""
    if places.run.exists():
        half_gone(places).touch()
    stop_everything(places)
    unmount_everything(places)
    drop_network(places, program_path(places, "kube-proxy"))
    remove_cgroups()
    remove_log_links(places)
    for folder in made_by_us(places):
        if folder != WEIGHTS:
            shutil.rmtree(folder, ignore_errors=True)
    for folder in (places.run, places.etcd, places.kubelet, places.pod_logs):
        shutil.rmtree(folder, ignore_errors=True)


def purge(places: Places, weights: Path = WEIGHTS) -> None:
    """After `sweep`: forget images, S3 data and weights too; built programs stay."""
    if weights in made_by_us(places):
        shutil.rmtree(weights, ignore_errors=True)
    for folder in (places.state, places.images):
        shutil.rmtree(folder, ignore_errors=True)
