"""What engines compiled: published on the node by the first, given to each later pod as a copy of its own."""

import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from torpor.prewarm import compiled, harvest
from torpor.prewarm.compiled import (
    Entry,
    Restored,
    clear_starts,
    find_entry,
    key_parts,
    list_entries,
    name_key,
    parse_entry,
    restore,
)
from torpor.prewarm.harvest import Harvest
from torpor.prewarm.layout import Layout
from torpor.prewarm.locks import try_lock

FILES = {
    "vllm/torch_compile_cache/abc/rank_0_0/model": b"graph" * 5000,
    "triton/K3/kernel.cubin": b"\x7fELF" * 100,
    "triton/K3/__grp__kernel.json": b"{}",
    "inductor/empty": b"",
}
PASSING = (
    "triton/K3/tmp.pid_7_x/kernel.cubin",
    "inductor/x.lock",
    "inductor/.7.8.tmp",
    "flashinfer/.ninja_lock",
    "flashinfer/tmp/a",
    "vllm/gpu_p2p_access_cache_for_0,1.json",
)
WEIGHTS = "0" * 32


class Node:
    """A node's cache, and pods on it that compile."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.layout = Layout(str(folder / "cache"))
        (folder / "cache").mkdir()

    @property
    def key(self) -> str:
        return name_key(key_parts("engine"))

    @property
    def entry(self) -> Path:
        return Path(compiled.compile_folder(self.layout, self.key))

    def compile(self, pod: str = "pod-a", files: dict[str, bytes] | None = None) -> Path:
        folder = self.folder / pod
        for path, body in (FILES if files is None else files).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(body)
        folder.mkdir(exist_ok=True)
        return folder

    def publish(self, pod: str = "pod-a", compile_key: str = "engine", **changed: Any) -> Harvest:
        return harvest.harvest(
            self.layout,
            key_parts(compile_key),
            str(self.folder / pod),
            **{"weights": WEIGHTS, "pod": pod, "pause": lambda _: None, **changed},
        )

    def restore(self, pod: str) -> Restored:
        return restore(self.layout, "engine", str(self.folder / pod), pod)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_what_the_first_pod_compiled_is_what_the_second_is_given(node: Node) -> None:
    folder = node.compile()
    (folder / "triton/K3/run.so").write_bytes(b"so")
    (folder / "triton/K3/run.so").chmod(0o755)
    published = node.publish()
    assert published.published
    given = node.restore("pod-b")
    assert contents(node.folder / "pod-b") == {**FILES, "triton/K3/run.so": b"so"}
    assert (given.files, given.bytes) == (5, sum(map(len, FILES.values())) + 2)
    for path in FILES:
        before, after = os.stat(folder / path), os.stat(node.folder / "pod-b" / path)
        assert before.st_mtime_ns == after.st_mtime_ns
    assert os.access(node.folder / "pod-b/triton/K3/run.so", os.X_OK)


def test_the_copy_is_the_pods_to_write_whoever_it_runs_as(node: Node) -> None:
    node.compile()
    node.publish()
    node.restore("pod-b")
    copy = node.folder / "pod-b" / "triton"
    assert copy.stat().st_mode & 0o777 == 0o777
    assert (copy / "K3/kernel.cubin").stat().st_mode & 0o666 == 0o666
    (copy / "K3/kernel.cubin").write_bytes(b"changed")
    assert (node.entry / "files/triton/K3/kernel.cubin").read_bytes() == b"\x7fELF" * 100


def test_a_node_without_an_entry_gives_nothing_and_it_is_no_error(node: Node) -> None:
    given = node.restore("pod-b")
    assert (given.files, given.bytes) == (0, 0)
    assert "nothing compiled" in given.message


def test_another_engine_is_given_nothing(node: Node) -> None:
    node.compile()
    node.publish(compile_key="other")
    assert node.restore("pod-b").files == 0


def test_locks_half_written_files_links_and_what_is_of_this_hardware_are_left_out(
    node: Node,
) -> None:
    folder = node.compile(files=FILES | dict.fromkeys(PASSING, b"x"))
    (folder / "link").symlink_to("/etc/passwd")
    os.mkfifo(folder / "pipe")
    node.publish()
    assert contents(node.entry / "files") == FILES


def test_the_manifest_says_what_it_is_for_and_by_whom(node: Node) -> None:
    node.compile()
    node.publish()
    manifest = json.loads((node.entry / "manifest.json").read_text())
    assert (manifest["key"], manifest["weights"], manifest["pod"]) == (node.key, WEIGHTS, "pod-a")
    assert manifest["parts"]["engine"] == "engine"
    assert (node.entry / "hash").read_text() == f"{WEIGHTS}\n"
    assert manifest["published_at"].endswith("+00:00")


def test_the_second_replica_does_nothing(node: Node) -> None:
    node.compile()
    node.publish()
    node.compile("pod-b", {"triton/x": b"other"})
    again = node.publish("pod-b")
    assert not again.published
    assert again.entry is not None
    assert "compiled by pod-a" in again.message
    assert contents(node.entry / "files") == FILES


def test_while_one_replica_publishes_another_does_nothing(node: Node) -> None:
    node.compile()
    held = try_lock(node.layout.lock(node.key))
    assert held is not None
    try:
        done = node.publish()
    finally:
        os.close(held)
    assert (done.published, done.entry) == (False, None)
    assert "another pod" in done.message


def test_of_many_replicas_at_once_one_publishes_and_nothing_is_left_over(node: Node) -> None:
    done: list[Harvest] = []
    pods = [f"pod-{number}" for number in range(6)]
    for pod in pods:
        node.compile(pod)
    threads = [
        threading.Thread(target=lambda pod=pod: done.append(node.publish(pod))) for pod in pods
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.published for one in done].count(True) == 1
    assert os.listdir(os.path.join(node.layout.root, "partial")) == []
    assert contents(node.entry / "files") == FILES


@pytest.mark.parametrize(
    "damage",
    [
        lambda entry: (entry / "files/triton/K3/kernel.cubin").write_bytes(b"short"),
        lambda entry: (entry / "files/triton/K3/kernel.cubin").unlink(),
        lambda entry: (entry / "manifest.json").write_text("{"),
        lambda entry: (entry / "manifest.json").write_text("[]"),
        lambda entry: (entry / "manifest.json").unlink(),
    ],
    ids=["short file", "missing file", "cut manifest", "other JSON", "no manifest"],
)
def test_a_damaged_entry_gives_nothing_at_all_rather_than_a_part(
    node: Node, damage: Callable[[Path], object]
) -> None:
    node.compile()
    node.publish()
    damage(node.entry)
    given = node.restore("pod-b")
    assert given.files == 0
    assert list((node.folder / "pod-b").iterdir()) == []


def test_an_entry_without_a_manifest_is_published_anew(node: Node) -> None:
    node.compile()
    node.publish()
    (node.entry / "manifest.json").unlink()
    assert node.publish().published
    assert node.restore("pod-b").files == len(FILES)


def test_what_a_killed_companion_left_half_done_is_in_nobodys_way(node: Node) -> None:
    stage = Path(node.layout.partial(node.key))
    (stage / "files/triton").mkdir(parents=True)
    (stage / "files/triton/half").write_bytes(b"half")
    node.compile()
    assert node.publish().published
    assert contents(node.entry / "files") == FILES


def test_a_pod_that_has_its_own_already_keeps_it(node: Node) -> None:
    node.compile()
    node.publish()
    node.compile("pod-b", {"mine": b"mine"})
    assert node.restore("pod-b").files == 0
    assert contents(node.folder / "pod-b") == {"mine": b"mine"}


@pytest.mark.parametrize("path", ["../out", "/etc/x", "a/../../b", "", "a//b", "./a", "a\0b"])
def test_a_manifest_that_names_a_path_outside_is_none(path: str) -> None:
    entry = Entry("k", WEIGHTS, "p", "now", {}, {path: (1, 1, False)})
    with pytest.raises(ValueError, match="outside its folder"):
        parse_entry(json.dumps(entry._asdict()), "k")


def test_an_entry_that_never_lets_a_pod_get_healthy_is_dropped_and_published_anew(
    node: Node,
) -> None:
    node.compile()
    node.publish()
    for pod in ("b", "c", "d"):
        assert node.restore(pod).files == len(FILES)
    assert node.restore("b").files == 0, "its folder is full"
    given = node.restore("e")
    assert given.files == 0
    assert "did not get healthy" in given.message
    assert find_entry(node.layout, node.key) is None
    assert node.publish().published
    assert node.restore("f").files == len(FILES)


def test_one_healthy_pod_clears_the_entry_of_suspicion(node: Node) -> None:
    node.compile()
    node.publish()
    for pod in ("b", "c", "d"):
        node.restore(pod)
    clear_starts(node.layout, node.key)
    assert node.restore("e").files == len(FILES)


@pytest.fixture
def still_compiling(node: Node) -> Iterator[subprocess.Popen[bytes]]:
    """An engine that writes without a pause, beside a file large enough that the copy is never between two writes."""
    folder = node.compile()
    with (folder / "large").open("wb") as file:
        file.truncate(256 * 1024 * 1024)
    loop = 'while :; do echo x >> "$0"; done'
    with subprocess.Popen(["sh", "-c", loop, str(folder / "growing")]) as engine:
        while not (folder / "growing").exists():
            assert engine.poll() is None
        yield engine
        engine.kill()


def test_an_engine_that_still_compiles_is_waited_for(
    node: Node, still_compiling: subprocess.Popen[bytes]
) -> None:
    waited: list[float] = []

    def pause(seconds: float) -> None:
        waited.append(seconds)
        still_compiling.kill()
        still_compiling.wait()

    assert node.publish(pause=pause).published
    assert len(waited) == 1
    grown = node.folder / "pod-a" / "growing"
    assert (node.entry / "files/growing").read_bytes() == grown.read_bytes()


def test_an_engine_that_never_ends_compiling_is_given_up(
    node: Node, still_compiling: subprocess.Popen[bytes]
) -> None:
    done = node.publish()
    assert not done.published
    assert done.message == "the engine was still compiling after 5 tries"
    assert os.listdir(os.path.join(node.layout.root, "partial")) == []


def test_nothing_compiled_is_not_published(node: Node) -> None:
    node.compile(files={})
    done = node.publish()
    assert (done.published, done.message) == (False, "the engine compiled nothing")
    assert not node.entry.exists()


def test_too_much_is_not_kept_and_said_with_the_limit(node: Node) -> None:
    folder = node.compile()
    with (folder / "huge").open("wb") as file:
        file.truncate(compiled.MOST_BYTES)
    done = node.publish()
    assert not done.published
    assert f"at most {compiled.MOST_BYTES} are kept" in done.message


def test_the_budget_of_the_cache_counts_for_it_too(node: Node) -> None:
    model = Path(node.layout.model(WEIGHTS))
    model.mkdir(parents=True)
    (model / "a.safetensors").write_bytes(b"x" * 100_000)
    node.compile()
    refused = node.publish(budget_bytes=110_000)
    assert not refused.published
    assert "of 110000: not kept" in refused.message
    assert node.publish(budget_bytes=1_000_000).published


def test_of_one_model_only_the_entries_used_last_are_kept(node: Node) -> None:
    node.compile()
    for number, compile_key in enumerate(f"k{n}" for n in range(8)):
        node.publish(compile_key=compile_key)
        key = name_key(key_parts(compile_key))
        manifest = Path(compiled.compile_folder(node.layout, key)) / "manifest.json"
        os.utime(manifest, (1000 + number, 1000 + number))
    node.publish(compile_key="of another model", weights="1" * 32)
    kept = [entry.parts["engine"] for entry, _ in list_entries(node.layout)]
    assert kept == [*(f"k{n}" for n in range(2, 8)), "of another model"]
    assert os.listdir(os.path.join(node.layout.root, "trash")) == []


def test_use_makes_an_entry_young(node: Node) -> None:
    node.compile()
    node.publish()
    os.utime(node.entry / "manifest.json", (1000, 1000))
    node.restore("pod-b")
    ((_, used),) = list_entries(node.layout)
    assert used > 1000


def test_driver_and_gpus_of_the_node_are_part_of_the_key(tmp_path: Path) -> None:
    driver = tmp_path / "nvidia"
    for number, gpu in enumerate(("0000:01", "0000:02")):
        (driver / "gpus" / gpu).mkdir(parents=True)
        text = f"Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   \t\t {number}\n"
        (driver / "gpus" / gpu / "information").write_text(text)
    (driver / "version").write_text("NVRM version: Kernel Module  570.86\nGCC version: 12\n")
    parts = key_parts("engine", str(driver))
    assert parts["driver"] == "NVRM version: Kernel Module  570.86"
    assert parts["gpus"] == ["Model: NVIDIA H100 80GB HBM3"]
    (driver / "version").write_text("NVRM version: Kernel Module  580.1\n")
    assert name_key(key_parts("engine", str(driver))) != name_key(parts)
    assert name_key(key_parts("other", str(driver))) != name_key(key_parts("engine", str(driver)))


def test_a_node_without_a_driver_has_a_key_too(tmp_path: Path) -> None:
    parts = key_parts("engine", str(tmp_path))
    assert (parts["driver"], parts["gpus"]) == ("", [])
    assert len(name_key(parts)) == 32
