"""What is cleaned is ours: networks, mounts and side effects of others are told apart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dev.cluster.network import clashing_routes, is_foreign_chain
from dev.cluster.places import BRIDGE, POD_BRIDGE, Places
from dev.cluster.sweep import made_by_us, mounts_below, note_footprint, purge, remove_log_links


@pytest.mark.parametrize(
    ("route", "clash"),
    [
        ({"dst": "default", "dev": "eth0"}, False),
        ({"dst": "192.168.1.0/24", "dev": "eth0"}, False),
        ({"dst": "10.250.0.0/24", "dev": BRIDGE}, False),
        ({"dst": "10.251.0.0/22", "dev": POD_BRIDGE}, False),
        ({"dst": "10.0.0.0/8", "dev": "tun0"}, True),
        ({"dst": "10.252.3.4", "dev": "eth0"}, True),
        ({"dst": "ff00::/8", "dev": "eth0"}, False),
        ({"type": "blackhole", "dst": "10.251.1.0/24"}, True),
    ],
    ids=lambda value: str(value),
)
def test_only_others_routes_into_our_ranges_clash(route: dict[str, str], clash: bool) -> None:
    assert bool(clashing_routes(json.dumps([route]))) is clash


def test_chains_of_a_kube_proxy_are_recognised_and_others_are_not() -> None:
    assert is_foreign_chain(":KUBE-SERVICES - [0:0]")
    assert not is_foreign_chain(":DOCKER - [0:0]")
    assert not is_foreign_chain("-A INPUT -j KUBE-SERVICES")


def test_only_mounts_below_our_folders_are_named_innermost_first() -> None:
    table = "\n".join(
        f"{number} 1 0:1 / {point} rw shared:1 - tmpfs tmpfs rw"
        for number, point in enumerate(
            [
                "/",
                "/run",
                "/run/torpor-dev",
                "/run/torpor-dev/a/rootfs",
                "/run/torpor-dev-else/b",
                "/cache/with\\040space/kubelet/pods/x",
            ]
        )
    )
    folders = [Path("/run/torpor-dev"), Path("/cache/with space")]
    assert mounts_below(table, folders) == [
        "/cache/with space/kubelet/pods/x",
        "/run/torpor-dev/a/rootfs",
        "/run/torpor-dev",
    ]


def test_folders_that_were_here_before_us_are_never_ours(tmp_path: Path) -> None:
    where = Places(repo=tmp_path, cache=tmp_path / "cache", run=tmp_path / "run")
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    theirs.mkdir()
    note_footprint(where, (theirs, ours))
    ours.mkdir()
    note_footprint(where, (theirs, ours))
    assert made_by_us(where) == [ours]


def test_only_log_links_into_our_pod_logs_are_removed(tmp_path: Path) -> None:
    where = Places(repo=tmp_path, cache=tmp_path / "cache", run=tmp_path / "run")
    links = tmp_path / "containers"
    links.mkdir()
    (links / "ours.log").symlink_to(where.pod_logs / "ns_pod_uid" / "c" / "0.log")
    (links / "theirs.log").symlink_to("/var/log/pods/ns_pod_uid/c/0.log")
    (links / "file.log").write_text("a plain file")
    remove_log_links(where, links)
    assert sorted(path.name for path in links.iterdir()) == ["file.log", "theirs.log"]


def test_a_purge_forgets_state_and_images_and_keeps_programs_and_others_folders(
    tmp_path: Path,
) -> None:
    where = Places(repo=tmp_path, cache=tmp_path / "cache", run=tmp_path / "run")
    weights = tmp_path / "weights"
    for folder in (where.s3, where.images, where.programs, weights):
        folder.mkdir(parents=True)
    note_footprint(where, (weights,))
    purge(where, weights)
    assert weights.exists()
    assert [path.name for path in where.cache.iterdir()] == ["programs"]
