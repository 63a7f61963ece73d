"""`pvc://`: weights in a mounted claim are examined where they are, and never fetched."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.prewarm.conftest import Prewarm
from tests.prewarm.s3server import safetensors


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """What the claim holds: a checkpoint in a folder, and things that are not part of it."""
    folder = tmp_path / "claim" / "models" / "llama"
    (folder / "tokenizer").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(safetensors(b"x" * 1000))
    (folder / "tokenizer" / "vocab.json").write_text("{}")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "lock").write_text("")
    (tmp_path / "claim" / "elsewhere.bin").write_text("x")
    return folder


@pytest.fixture
def claim(volume: Path, tmp_path: Path) -> Prewarm:
    from torpor.settings.prewarm import PrewarmSettings

    settings = PrewarmSettings(
        source="pvc://weights/models/llama",
        claim_dir=str(tmp_path / "claim"),
        cache_dir=str(tmp_path / "cache"),
        termination_log=str(tmp_path / "termination-log"),
    )
    return Prewarm(tmp_path, settings)


def test_a_checkpoint_in_a_claim_is_listed_without_any_store(claim: Prewarm, volume: Path) -> None:
    result = claim.run("preflight")
    size = sum(path.stat().st_size for path in volume.rglob("*.*") if path.is_file())
    assert result == {
        "reason": "Listed",
        "hash": result["hash"],
        "parts": [result["hash"]],
        "source": "pvc://weights/models/llama/",
        "sources": ["pvc://weights/models/llama/"],
        "files": 3,
        "bytes": size,
        "message": result["message"],
    }
    assert "pvc://weights/models/llama/ holds a checkpoint of 3 files" in result["message"]


@pytest.mark.parametrize("mode", ["ensure", "fetch"])
def test_what_is_still_as_it_was_listed_is_a_hit(mode: str, claim: Prewarm) -> None:
    listed = claim.run("preflight")
    result = claim.run(mode, "--hash", listed["hash"])
    assert (result["reason"], result["verified"]) == ("Hit", "size-only")
    assert (result["hash"], result["files"]) == (listed["hash"], 3)
    assert "the claim has the 3 files" in result["message"]
    assert not claim.cache.exists()


def test_a_fetch_without_a_hash_says_what_is_there(claim: Prewarm) -> None:
    assert claim.run("fetch")["hash"] == claim.run("preflight")["hash"]


def test_the_slash_at_the_end_does_not_matter_and_the_claim_does(claim: Prewarm) -> None:
    listed = claim.run("preflight")
    assert claim.run("preflight", source="pvc://weights//models/llama/") == listed
    assert claim.run("preflight", source="pvc://other/models/llama")["hash"] != listed["hash"]


def _rewrite(volume: Path) -> None:
    body = (volume / "model.safetensors").read_bytes()
    (volume / "model.safetensors").write_bytes(body)
    os.utime(volume / "model.safetensors", ns=(1, 1))


def _add(volume: Path) -> None:
    (volume / "more.txt").write_text("x")


def _remove(volume: Path) -> None:
    (volume / "tokenizer" / "vocab.json").unlink()


@pytest.mark.parametrize("change", [_rewrite, _add, _remove])
def test_what_was_changed_since_is_not_taken(
    change: Callable[[Path], None], claim: Prewarm, volume: Path
) -> None:
    listed = claim.run("preflight")
    change(volume)
    result = claim.run("ensure", "--hash", listed["hash"])
    assert result["reason"] == "WeightsChanged"
    assert "pvc://weights/models/llama/ changed: it is " in result["message"]
    assert f"{listed['hash']} was asked for" in result["message"]


def _cut_shard(volume: Path) -> None:
    (volume / "model.safetensors").write_bytes(safetensors(b"x" * 1000)[:-1])


def _index_without_shard(volume: Path) -> None:
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (volume / "model.safetensors.index.json").write_text(json.dumps(index))


def _no_config(volume: Path) -> None:
    (volume / "config.json").unlink()


def _link_out(volume: Path) -> None:
    (volume / "secret.txt").symlink_to("/etc/hostname")


def _empty(volume: Path) -> None:
    for path in sorted(volume.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


def _gone(volume: Path) -> None:
    _empty(volume)
    volume.rmdir()


def _file_for_folder(volume: Path) -> None:
    _gone(volume)
    volume.write_text("x")


def _dangling(volume: Path) -> None:
    (volume / "model-2.safetensors").symlink_to("nothing")


BAD: dict[str, tuple[Callable[[Path], None], dict[str, Any], str, str]] = {
    "shard cut off": (_cut_shard, {}, "WeightsCorrupt", "llama/model.safetensors has"),
    "missing shard": (_index_without_shard, {}, "WeightsCorrupt", "of which 1 are missing"),
    "no config": (_no_config, {}, "WeightsNotACheckpoint", "include no config.json"),
    "link out of the claim": (_link_out, {}, "WeightsNotACheckpoint", "secret.txt is a link that leads out"),
    "dangling link": (_dangling, {}, "WeightsEmpty", "the claim has no 'models/llama/model-2.safetensors'"),
    "empty folder": (_empty, {}, "WeightsEmpty", "holds no object"),
    "no folder": (_gone, {}, "WeightsEmpty", "is not there: the claim has no 'models/llama'"),
    "a file": (_file_for_folder, {}, "WeightsInternal", "it is a file, not a folder"),
    "not mounted": (_add, {"claim_dir": ""}, "WeightsInternal", "TORPOR_CLAIM_DIR does not say"),
    "way out": (_add, {"source": "pvc://weights/../x"}, "WeightsInternal", "not of the form pvc://claim/path"),
    "no claim": (_add, {"source": "pvc://"}, "WeightsInternal", "not of the form pvc://claim/path"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD, ids=str)
def test_what_cannot_be_used_is_told_in_one_sentence(
    case: str, claim: Prewarm, volume: Path
) -> None:
    prepare, changed, reason, words = BAD[case]
    prepare(volume)
    result = claim.run("preflight", **changed)
    assert words in result["message"]
    assert result["reason"] == reason


def test_a_link_within_the_claim_is_followed(claim: Prewarm, volume: Path) -> None:
    """As a downloader's cache lays files: names that lead to blobs."""
    blob = volume.parent / "blob"
    (volume / "model.safetensors").rename(blob)
    (volume / "model.safetensors").symlink_to("../blob")
    listed = claim.run("preflight")
    assert listed["reason"] == "Listed"
    os.utime(blob, ns=(1, 1))
    assert claim.run("ensure", "--hash", listed["hash"])["reason"] == "WeightsChanged"


def test_a_hit_of_a_claim_imports_the_standard_library_only(claim: Prewarm) -> None:
    listed = claim.run("preflight")
    script = (
        "import sys\n"
        "from torpor.prewarm.program import main\n"
        "status = main(['ensure', '--hash', sys.argv[1]])\n"
        "foreign = {'botocore', 'awscrt', 'httpx2', 'huggingface_hub', 'http', 'ssl'}\n"
        "print(sorted(foreign & set(sys.modules)), file=sys.stderr)\n"
        "sys.exit(status)\n"
    )
    environ = {
        "PYTHONPATH": str(Path(__file__).parents[2] / "operator"),
        "TORPOR_SOURCE": claim.settings.source,
        "TORPOR_CLAIM_DIR": claim.settings.claim_dir,
        "TORPOR_TERMINATION_LOG": claim.settings.termination_log,
    }
    command = [sys.executable, "-c", script, listed["hash"]]
    done = subprocess.run(command, env=environ, capture_output=True, text=True)
    assert (done.returncode, done.stderr.strip()) == (0, "[]")
