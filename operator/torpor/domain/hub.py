"""`hf://org/name@revision`: how it is read, where its copy lies, and which of its files an engine needs."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from torpor.domain.fetching import FetchReason, Refusal, RemoteFile

MARKER = ".torpor/hub.json"
"""Written last: the copy is complete, and this is what it holds."""

RECORDS = ".torpor/hub/"
"""One empty object per file whose content was checked; its name says which content."""

_SOURCE = re.compile(r"hf://([A-Za-z0-9._-]+)/([A-Za-z0-9._-]+?)(?:@([A-Za-z0-9._/-]+))?/?")
_COMMIT = re.compile(r"[0-9a-f]{40}")

_NO_NEED = re.compile(
    r"""
    (^|/)\.                                                     # .gitattributes, .cache/
    | \.(md|png|jpe?g|gif|webp|svg|pdf|mp4|mp3|wav|ipynb)$      # for people
    | \.(h5|msgpack|tflite|ot|onnx|onnx_data|mlmodel|mlpackage|ckpt)$   # for other frameworks
    | ^(original|onnx|openvino|coreml|runs|logs|checkpoint-\d+|global_step\d+)/
    | (^|/)(optimizer|scheduler|scaler|rng_state\w*)\.(pt|pth|bin|safetensors)$ | (^|/)training_args\.bin$
    | (^|/)events\.out\.tfevents
    """,
    re.VERBOSE,
)
_OLDER = re.compile(r"\.(bin|pth|pt)$")
"""Pickled weights: the same tensors as the safetensors beside them."""
_CONSOLIDATED = re.compile(r"^(consolidated.*\.(safetensors|json)|params\.json)$")
"""Mistral's own form of the weights that are there in Hugging Face's form too."""
_WHOLE = re.compile(r"^(model|adapter_model|pytorch_model)[^/]*\.safetensors$")


@dataclass(frozen=True, slots=True)
class HubSource:
    """A repository of models at one revision."""

    repo: str
    """`org/name`."""
    revision: str
    """Branch, tag or commit; `main` if none was given."""

    @property
    def pinned(self) -> bool:
        """Whether the revision is a whole commit, so that nobody need be asked what it is."""
        return _COMMIT.fullmatch(self.revision) is not None

    def __str__(self) -> str:
        """Write it with its revision."""
        return f"hf://{self.repo}@{self.revision}"


@dataclass(frozen=True, slots=True, order=True)
class HubFile:
    """One file of a repository. `identity` is `sha256:…` for large files, `blob:…` (Git's SHA-1) for others."""

    key: str
    size: int
    identity: str


def parse_hub_source(source: str) -> HubSource | Refusal:
    """Read `hf://org/name` or `hf://org/name@revision`."""
    match = _SOURCE.fullmatch(source)
    if match is None or {match[1], match[2]} & {".", ".."} or ".." in (match[3] or "").split("/"):
        return Refusal(
            FetchReason.INTERNAL,
            f"the source {source!r} is not of the form hf://organisation/name[@revision]",
        )
    return HubSource(f"{match[1]}/{match[2]}", match[3] or "main")


def mirror_source(mirror: str, repo: str, commit: str) -> str:
    """Where the copy of one commit lies: `s3://bucket/prefix/org/name/<commit>/`."""
    return f"{mirror.rstrip('/')}/{repo}/{commit}/"


def resolved_sources(
    asked: Sequence[str], result: Mapping[str, object], mirror: str
) -> tuple[str, ...]:
    """Where the parts lie that a preflight listed, in order: what is asked for from then on.

    Args:
        asked: the sources as the endpoint names them: the model's, then those of the extras.
        result: the preflight's document; its `commits` has one entry for each: empty where the source needs no
            resolving (`s3://`, `pvc://`) or names its commit itself.
        mirror: `s3://bucket/prefix/` of the copies.
    """
    commits = result.get("commits")
    given = list(commits) if isinstance(commits, list) else []
    resolved: list[str] = []
    for index, source in enumerate(asked):
        hub = parse_hub_source(source) if source.startswith("hf://") else None
        if not isinstance(hub, HubSource):
            resolved.append(source)
            continue
        commit = str(given[index]) if index < len(given) and given[index] else hub.revision
        resolved.append(mirror_source(mirror, hub.repo, commit))
    return tuple(resolved)


def needed_files(files: Iterable[HubFile]) -> tuple[HubFile, ...]:
    """Leave out what no engine reads: texts for people, other frameworks' weights, states of a training.

    Where a repository has its weights twice, the safetensors in Hugging Face's form are kept.
    """
    kept = sorted(file for file in files if not _NO_NEED.search(file.key))
    if any(_WHOLE.search(file.key) for file in kept):
        kept = [
            file
            for file in kept
            if not _OLDER.search(file.key)
            and not file.key.endswith((".bin.index.json", ".gguf"))
            and not _CONSOLIDATED.search(file.key)
        ]
    return tuple(kept)


@dataclass(frozen=True, slots=True)
class HubPlan:
    """What is left to do for a copy."""

    send: tuple[HubFile, ...]
    """Not there, or there with another size: small files first."""
    check: tuple[HubFile, ...]
    """There with the right size, but nobody recorded that the content was checked."""


def record_key(file: HubFile, etag: str) -> str:
    """Name of the record that the object with this ETag holds the content of this file."""
    text = f"{file.key}\0{file.size}\0{etag}\0{file.identity}"
    return RECORDS + hashlib.sha256(text.encode()).hexdigest()[:32]


def plan_copy(files: Sequence[HubFile], listing: Iterable[RemoteFile]) -> HubPlan:
    """Compare what is wanted with all that the copy's folder holds, records included."""
    objects = {entry.key: entry for entry in listing}
    send: list[HubFile] = []
    check: list[HubFile] = []
    for file in sorted(files, key=lambda file: (file.size, file.key)):
        there = objects.get(file.key)
        if there is None or there.size != file.size:
            send.append(file)
        elif record_key(file, there.etag) not in objects:
            check.append(file)
    return HubPlan(tuple(send), tuple(check))


def marker_agrees(marker: bytes, commit: str, listing: Iterable[RemoteFile]) -> bool:
    """Whether the marker is of this commit and every object that it names is there as it was then."""
    objects = {entry.key: entry for entry in listing}
    try:
        document: object = json.loads(marker)
    except ValueError:
        return False
    if not isinstance(document, dict):
        return False
    fields = cast("dict[str, object]", document)
    files = fields.get("files")
    if fields.get("commit") != commit or not isinstance(files, dict) or not files:
        return False
    for key, entry in cast("dict[str, object]", files).items():
        there = objects.get(key)
        if there is None or entry != {**_as_dict(entry), "size": there.size, "etag": there.etag}:
            return False
    return True


def _as_dict(value: object) -> dict[str, object]:
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}
