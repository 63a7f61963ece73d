"""What the stand-in serves: repositories of models, their commits and their files."""

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

LFS_SUFFIXES = (".safetensors", ".bin", ".gguf", ".pth", ".pt", ".model")
"""What the real hub keeps as large files; others are Git blobs."""


@dataclass(frozen=True)
class HubFile:
    """One file of a commit."""

    body: bytes
    large: bool

    @cached_property
    def sha256(self) -> str:
        """Name of a large file's content."""
        return hashlib.sha256(self.body).hexdigest()

    @cached_property
    def blob(self) -> str:
        """Git's name of the content."""
        return hashlib.sha1(b"blob %d\0" % len(self.body) + self.body).hexdigest()

    @property
    def etag(self) -> str:
        """What the hub says in `X-Linked-ETag` or `ETag`."""
        return self.sha256 if self.large else self.blob


@dataclass
class Repository:
    """One model: its commits, what its branches and tags point to, and who may read it."""

    name: str
    commits: dict[str, dict[str, HubFile]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    gated: bool = False
    """Files are given only to tokens in `accepted`; the list of files is given to everybody."""
    private: bool = False
    """Nothing is given, nor said to exist, to others than `accepted`."""
    accepted: set[str] = field(default_factory=set)

    def commit(self, files: dict[str, bytes], *, branch: str = "main") -> str:
        """Add a commit with exactly these files and move the branch there; returns the commit."""
        kept = {key: HubFile(body, key.endswith(LFS_SUFFIXES)) for key, body in files.items()}
        text = "".join(f"{key}\0{file.etag}\n" for key, file in sorted(kept.items()))
        commit = hashlib.sha1(text.encode()).hexdigest()
        self.commits[commit] = kept
        self.refs[branch] = commit
        return commit

    def find(self, revision: str) -> str | None:
        """Commit of a branch, a tag or a commit."""
        return self.refs.get(revision) or (revision if revision in self.commits else None)

    def describe(self, commit: str, *, blobs: bool) -> dict[str, Any]:
        """The API's document about one commit."""
        return {
            "_id": hashlib.sha256(self.name.encode()).hexdigest()[:24],
            "id": self.name,
            "modelId": self.name,
            "sha": commit,
            "private": self.private,
            "gated": "manual" if self.gated else False,
            "tags": [],
            "siblings": [
                {"rfilename": key, **(_describe_content(file) if blobs else {})}
                for key, file in sorted(self.commits[commit].items())
            ],
        }


def _describe_content(file: HubFile) -> dict[str, Any]:
    content: dict[str, Any] = {"size": len(file.body), "blobId": file.blob}
    if file.large:
        content["lfs"] = {"sha256": file.sha256, "size": len(file.body), "pointerSize": 134}
    return content


def load_repositories(folder: Path) -> dict[str, Repository]:
    """Read `folder/org/name/…`, one commit each, on `main`.

    A file `folder/org/name.json` may say `{"gated": true, "private": true, "accepted": ["hf_token"]}`.
    """
    repositories: dict[str, Repository] = {}
    for place in sorted(path for path in folder.glob("*/*") if path.is_dir()):
        name = f"{place.parent.name}/{place.name}"
        settings = place.parent / f"{place.name}.json"
        said: dict[str, Any] = json.loads(settings.read_text()) if settings.exists() else {}
        repository = Repository(
            name,
            gated=bool(said.get("gated")),
            private=bool(said.get("private")),
            accepted=set(said.get("accepted", [])),
        )
        files = {
            str(path.relative_to(place)): path.read_bytes()
            for path in sorted(place.rglob("*"))
            if path.is_file()
        }
        repository.commit(files)
        repositories[name] = repository
    return repositories
