"""Compiled code as one tar: it arrives as it was, and a tar that is anything else is refused whole."""

import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from torpor.prewarm.bundle import NoBundle, bundle_name, pack, unpack
from torpor.prewarm.compiled import Entry, compile_folder, find_entry, key_parts, name_key
from torpor.prewarm.harvest import harvest
from torpor.prewarm.layout import Layout

FILES = {"a/kernel": b"k" * 5000, "b": b"", "c/d/e.so": b"so" * 700_000, "long/" + "n" * 150: b"x"}
KEY = name_key(key_parts("engine"))


def node(folder: Path) -> Layout:
    folder.mkdir()
    return Layout(str(folder))


@pytest.fixture
def origin(tmp_path: Path) -> tuple[Layout, Entry]:
    layout = node(tmp_path / "origin")
    for path, body in FILES.items():
        (tmp_path / "compiled" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "compiled" / path).write_bytes(body)
    (tmp_path / "compiled" / "b").chmod(0o755)
    done = harvest(
        layout, key_parts("engine"), str(tmp_path / "compiled"), weights="w", pod="pod-a"
    )
    assert done.entry is not None
    return layout, done.entry


def test_it_arrives_on_another_node_as_it_was(tmp_path: Path, origin: tuple[Layout, Entry]) -> None:
    there = node(tmp_path / "there")
    unpack(there, KEY, io.BytesIO(b"".join(pack(*origin))), 0)
    assert find_entry(there, KEY) == find_entry(origin[0], KEY)
    folder = Path(compile_folder(there, KEY)) / "files"
    for path, body in FILES.items():
        assert (folder / path).read_bytes() == body
        assert (folder / path).stat().st_mtime_ns == origin[1].files[path][1]
    assert os.access(folder / "b", os.X_OK)
    assert not (folder / "a/kernel").stat().st_mode & 0o111
    assert os.listdir(Path(there.root) / "partial") == []


def test_any_tar_program_can_read_it(tmp_path: Path, origin: tuple[Layout, Entry]) -> None:
    with tarfile.open(fileobj=io.BytesIO(b"".join(pack(*origin)))) as tar:
        assert tar.getnames() == ["manifest.json", *(f"files/{path}" for path in FILES)]


def test_it_lies_where_no_listing_of_weights_looks() -> None:
    assert bundle_name("k") == ".torpor/compile/k.tar"


Forge = Callable[[tarfile.TarFile], None]


def forge(files: dict[str, Any], add: Forge, key: str = KEY) -> bytes:
    manifest = json.dumps(Entry(key, "w", "p", "now", {}, files)._asdict()).encode()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        put(tar, "manifest.json", manifest)
        add(tar)
    return buffer.getvalue()


def put(tar: tarfile.TarFile, name: str, body: bytes = b"x", **changed: Any) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(body)
    for attribute, value in changed.items():
        setattr(info, attribute, value)
    tar.addfile(info, io.BytesIO(body))


def link(tar: tarfile.TarFile, name: str, kind: bytes, target: str) -> None:
    put(tar, name, b"", type=kind, linkname=target)


ONE = {"a": (1, 1, False)}


def twice(tar: tarfile.TarFile) -> None:
    put(tar, "files/a")
    put(tar, "files/a")


def linked_folder(tar: tarfile.TarFile) -> None:
    link(tar, "files/d", tarfile.SYMTYPE, "/tmp")
    put(tar, "files/d/a")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (lambda: forge(ONE, lambda tar: put(tar, "files/../../a")), "its manifest does not"),
        (lambda: forge(ONE, lambda tar: put(tar, "/files/a")), "its manifest does not"),
        (lambda: forge(ONE, lambda tar: put(tar, "a")), "its manifest does not"),
        (lambda: forge(ONE, lambda tar: put(tar, "files/a", b"xx")), "its manifest does not"),
        (lambda: forge(ONE, twice), "its manifest does not"),
        (
            lambda: forge(ONE, lambda tar: link(tar, "files/a", tarfile.SYMTYPE, "/etc/passwd")),
            "its manifest does not",
        ),
        (
            lambda: forge(ONE, lambda tar: link(tar, "files/a", tarfile.LNKTYPE, "manifest.json")),
            "its manifest does not",
        ),
        (
            lambda: forge(
                {"a": (0, 1, False)},
                lambda tar: link(tar, "files/a", tarfile.SYMTYPE, "/etc/passwd"),
            ),
            "its manifest does not",
        ),
        (lambda: forge({"d/a": (1, 1, False)}, linked_folder), "its manifest does not"),
        (lambda: forge(ONE, lambda tar: None), "it lacks 1 of 1 files"),
        (lambda: forge({"../a": (1, 1, False)}, lambda tar: None), "outside its folder"),
        (lambda: forge({"a": (1 << 40, 1, False)}, lambda tar: None), "not the manifest"),
        (lambda: forge(ONE, lambda tar: put(tar, "files/a"), key="0" * 32), "not the manifest"),
        (lambda: b"", "it is no tar"),
        (lambda: b"\x01" * 4096, "it is no tar"),
        (lambda: bytes(4096), "first file is not a manifest"),
        (lambda: forge(ONE, lambda tar: put(tar, "files/a", b"x"))[:1400], "tar|lacks"),
    ],
    ids=[
        *("climbs out", "absolute", "another folder", "another size", "twice", "symlink"),
        *(
            "hard link",
            "empty symlink",
            "through a link",
            "lacking",
            "manifest climbs out",
            "too large",
        ),
        *("of another key", "empty", "no tar", "zeros", "cut"),
    ],
)
def test_a_tar_that_is_not_the_entry_is_refused_whole(
    tmp_path: Path, body: Callable[[], bytes], words: str
) -> None:
    there = node(tmp_path / "there")
    with pytest.raises(NoBundle, match=words):
        unpack(there, KEY, io.BytesIO(body()), 0)
    assert find_entry(there, KEY) is None
    assert os.listdir(Path(there.root) / "partial") == []
    assert {path.name for path in tmp_path.iterdir()} == {"there"}


def test_a_cut_file_is_refused(tmp_path: Path, origin: tuple[Layout, Entry]) -> None:
    whole = b"".join(pack(*origin))
    there = node(tmp_path / "there")
    with pytest.raises(NoBundle):
        unpack(there, KEY, io.BytesIO(whole[: len(whole) // 2]), 0)
    assert find_entry(there, KEY) is None


def test_it_is_refused_without_room(tmp_path: Path, origin: tuple[Layout, Entry]) -> None:
    there = node(tmp_path / "there")
    with pytest.raises(NoBundle, match="of 1000000: not kept"):
        unpack(there, KEY, io.BytesIO(b"".join(pack(*origin))), 1_000_000)


def test_a_file_that_shrank_is_not_sent(origin: tuple[Layout, Entry]) -> None:
    (Path(compile_folder(origin[0], KEY)) / "files/a/kernel").write_bytes(b"short")
    with pytest.raises(OSError, match="ended 4995 bytes early"):
        b"".join(pack(*origin))
