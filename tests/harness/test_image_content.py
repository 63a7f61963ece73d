"""An image's tag follows exactly what its Dockerfile copies."""

from __future__ import annotations

from pathlib import Path

import pytest

from dev.cluster.dockerfile import (
    context_files,
    copied_sources,
    hash_tree,
    is_ignored,
    lay_out,
)
from dev.cluster.errors import HarnessError
from dev.cluster.images import RECIPES, tag_for

DOCKERFILE = """\
ARG BASE=python:3.13-slim
FROM ${BASE} AS build
COPY pyproject.toml list[s]/*.txt ./
COPY --chown=1:1 src \\
     more ./
COPY ["with space.txt", "/x/"]
COPY --from=other /a /b
ADD extra.tar /
# COPY commented.txt /
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    context = tmp_path / "repo"
    for path in (
        "pyproject.toml",
        "src/a.py",
        "src/b/c.py",
        "more/d",
        "with space.txt",
        "extra.tar",
    ):
        (context / path).parent.mkdir(parents=True, exist_ok=True)
        (context / path).write_text(path)
    (context / "tests").mkdir()
    (context / "tests" / "test_a.py").write_text("not copied")
    (context / "Dockerfile").write_text(DOCKERFILE)
    return context


def fingerprint(tree: Path) -> str:
    return lay_out(tree, tree / "Dockerfile", tree.parent / "layout")


def test_sources_are_those_of_the_context_and_not_of_other_stages() -> None:
    assert copied_sources(DOCKERFILE) == [
        *("pyproject.toml", "list[s]/*.txt", "src", "more", "with space.txt", "extra.tar")
    ]


def test_a_glob_that_matches_nothing_is_no_error_but_a_missing_name_is(tree: Path) -> None:
    files = context_files(tree, tree / "Dockerfile")
    assert files == [
        *("extra.tar", "more/d", "pyproject.toml", "src/a.py", "src/b/c.py", "with space.txt")
    ]
    (tree / "extra.tar").unlink()
    with pytest.raises(HarnessError, match=r"copies extra\.tar, which is not in"):
        context_files(tree, tree / "Dockerfile")


def test_editing_what_is_not_copied_keeps_the_hash(tree: Path) -> None:
    before = fingerprint(tree)
    (tree / "tests" / "test_a.py").write_text("edited")
    (tree / "src" / "a.py").touch()
    assert fingerprint(tree) == before


@pytest.mark.parametrize("path", ["src/b/c.py", "Dockerfile", "with space.txt"])
def test_editing_what_is_copied_changes_the_hash(tree: Path, path: str) -> None:
    before = fingerprint(tree)
    with (tree / path).open("a") as file:
        file.write("\n# edited")
    assert fingerprint(tree) != before


def test_a_new_file_a_new_name_and_an_executable_bit_change_the_hash(tree: Path) -> None:
    seen = {fingerprint(tree)}
    (tree / "src" / "new.py").write_text("")
    seen.add(fingerprint(tree))
    (tree / "src" / "new.py").rename(tree / "src" / "newer.py")
    seen.add(fingerprint(tree))
    (tree / "src" / "newer.py").chmod(0o755)
    seen.add(fingerprint(tree))
    assert len(seen) == 4


def test_the_layout_is_what_was_hashed_with_one_time_for_all(tree: Path) -> None:
    digest = fingerprint(tree)
    layout = tree.parent / "layout"
    assert hash_tree(layout) == digest
    assert {path.stat().st_mtime for path in (layout / "context").rglob("*")} == {946684800}


def test_ignored_files_neither_count_nor_are_copied(tree: Path) -> None:
    (tree / ".dockerignore").write_text("# comment\n**/*.pyc\n**/__pycache__\n")
    before = fingerprint(tree)
    (tree / "src" / "b" / "__pycache__").mkdir()
    (tree / "src" / "b" / "__pycache__" / "c.pyc").write_text("bytecode")
    (tree / "src" / "x.pyc").write_text("bytecode")
    assert fingerprint(tree) == before
    assert not list((tree.parent / "layout").rglob("*.pyc"))


@pytest.mark.parametrize(
    ("path", "patterns", "ignored"),
    [
        ("operator/torpor/a.py", ["*", "!operator"], False),
        ("tests/test_a.py", ["*", "!operator"], True),
        ("operator/torpor/__pycache__/a.pyc", ["*", "!operator", "**/__pycache__"], True),
        ("a.pyc", ["**/*.pyc"], True),
        ("docs/a.md", ["docs/*.txt"], False),
        ("docs/deep/a.txt", ["docs/*.txt"], False),
        ("docs/deep/a.txt", ["docs/**/a.txt"], True),
        ("dev/engine/x", ["*", "!dev/engine"], False),
        ("dev/cluster/x", ["*", "!dev/engine"], True),
    ],
)
def test_dockerignore_patterns_are_read_as_docker_reads_them(
    path: str, patterns: list[str], ignored: bool
) -> None:
    assert is_ignored(path, patterns) is ignored


def test_another_base_is_another_image() -> None:
    recipe = RECIPES["torpor"]
    assert tag_for(recipe, "content", "base:1") != tag_for(recipe, "content", "base:2")
    assert tag_for(recipe, "content", "base:1").startswith("localhost/torpor:")


def test_the_projects_own_image_holds_the_package_and_no_tests() -> None:
    repo = Path(__file__).resolve().parents[2]
    files = context_files(repo, repo / "Dockerfile")
    assert "operator/torpor/__init__.py" in files
    assert "pyproject.toml" in files
    allowed = ("operator/", "constraints/", "pyproject.toml", "README.md", "LICENSE")
    assert [path for path in files if not path.startswith(allowed)] == []
    assert [path for path in files if path.endswith(".pyc")] == []
