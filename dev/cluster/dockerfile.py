"""Which files an image is made of: read from its Dockerfile, hashed, and laid out for the build.

Only what the Dockerfile copies counts, so editing a test or a page of documentation builds
nothing. Globs and .dockerignore follow Docker's rules as far as this project uses them.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import re
import shutil
from pathlib import Path, PurePosixPath

from .errors import HarnessError

_COPY = re.compile(r"^(COPY|ADD)\s+(.*)$", re.IGNORECASE)
_FLAG = re.compile(r"^--[a-z]+(=\S*)?$")


def copied_sources(dockerfile: str) -> list[str]:
    """Sources in the build context that COPY and ADD name; copies between stages are not."""
    joined = re.sub(r"\\\s*\n", " ", dockerfile)
    sources: list[str] = []
    for line in joined.splitlines():
        found = _COPY.match(line.strip())
        if found is None:
            continue
        rest = found[2].strip()
        words = rest.split()
        flags = [word for word in words if _FLAG.match(word)]
        if any(flag.startswith("--from=") for flag in flags):
            continue
        plain = (
            rest[rest.index("[") :]
            if rest.rstrip().endswith("]") and not words[-1][0].isalnum()
            else ""
        )
        named = json.loads(plain) if plain.startswith('["') else words[len(flags) :]
        sources.extend(named[:-1])
    return sources


def is_ignored(path: str, patterns: list[str]) -> bool:
    """Whether .dockerignore leaves out a file: the last pattern that matches it or a parent wins."""
    pure = PurePosixPath(path)
    names = [str(pure), *(str(parent) for parent in pure.parents if str(parent) != ".")]
    ignored = False
    for pattern in patterns:
        bare = pattern.removeprefix("!").strip("/")
        if any(_matches(name, bare) for name in names):
            ignored = not pattern.startswith("!")
    return ignored


def _matches(name: str, pattern: str) -> bool:
    """Docker's pattern rule: `*` stays within one folder, `**` does not."""
    if pattern.startswith("**/") and _matches(name, pattern[3:]):
        return True
    if pattern.startswith("**/") and "/" in name:
        return _matches(name.split("/", 1)[1], pattern)
    wanted, given = pattern.split("/"), name.split("/")
    return len(wanted) == len(given) and all(map(fnmatch.fnmatchcase, given, wanted))


def context_files(context: Path, dockerfile: Path) -> list[str]:
    """Paths, relative to the context and sorted, of the files that the Dockerfile copies.

    Raises:
        HarnessError: a source without a glob that does not exist.
    """
    ignore = context / ".dockerignore"
    patterns: list[str] = []
    if ignore.exists():
        lines = (line.strip() for line in ignore.read_text().splitlines())
        patterns = [line for line in lines if line and not line.startswith("#")]
    files: set[str] = set()
    for source in copied_sources(dockerfile.read_text()):
        matched = [context] if source in (".", "./") else sorted(context.glob(source.strip("/")))
        if not matched and not any(sign in source for sign in "*?["):
            raise HarnessError(f"{dockerfile} copies {source}, which is not in {context}")
        for path in matched:
            inside = path.rglob("*") if path.is_dir() else [path]
            files.update(f.relative_to(context).as_posix() for f in inside if f.is_file())
    return sorted(path for path in files if not is_ignored(path, patterns))


def lay_out(context: Path, dockerfile: Path, into: Path) -> str:
    """Copy Dockerfile and context files to `into` and return the hash of exactly that copy.

    Hashing the copy, not the tree, means an edit during the build cannot make a tag lie. Times
    are set to one instant, so that layers are equal when their contents are.
    """
    shutil.rmtree(into, ignore_errors=True)
    tree = into / "context"
    tree.mkdir(parents=True)
    for path in context_files(context, dockerfile):
        target = tree / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(context / path, target)
        target.chmod(0o755 if os.access(target, os.X_OK) else 0o644)
        _set_instant(target)
    shutil.copyfile(dockerfile, into / "Dockerfile")
    for folder in sorted(tree.rglob("*"), key=lambda path: -len(path.parts)):
        if folder.is_dir():
            folder.chmod(0o755)
            _set_instant(folder)
    return hash_tree(into)


def hash_tree(folder: Path) -> str:
    """One hash over names, executable bits and contents of every file below a folder."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        runs = int(os.access(path, os.X_OK) and bool(path.stat().st_mode & 0o111))
        digest.update(f"{path.relative_to(folder).as_posix()}\0{runs}\0{content}\n".encode())
    return digest.hexdigest()


def _set_instant(path: Path) -> None:
    os.utime(path, (946684800, 946684800))
