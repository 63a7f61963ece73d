"""How each client is called to bring a prefix into a folder, and what it checks of the bytes by its own documents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.frame.interpreter import as_shipped
from bench.rivals.target import Target

Call = Callable[[Target, Path], tuple[list[str], dict[str, str]]]
"""(where from, folder) → words of the command, and environment beside that of `Target.environment`."""

TORPOR = "torpor"
SERVER, DISK, BOTH = "limit: server", "limit: disk", "limit: both"
LIMITS = (SERVER, DISK, BOTH)


@dataclass(frozen=True)
class Client:
    """One way to bring the weights, or one of the three limits."""

    name: str
    call: Call
    verifies: str
    """In words; for torpor it is what the run itself reported."""
    needs: str = ""
    """The rival that must be installed; empty: nothing."""


def torpor() -> Client:
    """The program that the prewarm Job runs, from this checkout."""

    def call(target: Target, folder: Path) -> tuple[list[str], dict[str, str]]:
        python, env = as_shipped()
        return [python, "-m", "torpor.prewarm", "fetch"], env | {
            "TORPOR_SOURCE": target.source,
            "TORPOR_S3_ENDPOINT": target.endpoint,
            "TORPOR_S3_REGION": target.region,
            "TORPOR_S3_PATH_STYLE": "true",
            "TORPOR_CACHE_DIR": str(folder),
            "TORPOR_TERMINATION_LOG": str(folder.with_name("termination-log")),
        }

    return Client(TORPOR, call, "")


def aws(venv: Path) -> Client:
    """The AWS command line, version 1, as it comes."""

    def call(target: Target, folder: Path) -> tuple[list[str], dict[str, str]]:
        words = ["s3", "cp", "--recursive", "--only-show-errors", target.source, str(folder)]
        return [str(venv / "bin" / "python"), str(venv / "bin" / "aws"), *words], {}

    checks = "no: answers to ranges carry no checksum"
    return Client("aws s3 cp", call, checks, "aws")


def s5cmd(venv: Path, *options: str) -> Client:
    """The Go client; with options, tuned."""

    def call(target: Target, folder: Path) -> tuple[list[str], dict[str, str]]:
        (program,) = venv.glob("lib/python*/site-packages/s5cmd/bin/s5cmd")
        words = ["--endpoint-url", target.endpoint, "cp", *options]
        return [str(program), *words, f"{target.source}*", f"{folder}/"], {}

    return Client(" ".join(("s5cmd", *options)), call, "no", "s5cmd")


def rclone(venv: Path, *options: str) -> Client:
    """Another Go client, four files and four streams of each at once by default; with options, tuned."""

    def call(target: Target, folder: Path) -> tuple[list[str], dict[str, str]]:
        account = target.account
        words = ["copy", *options, f":s3:{target.bucket}/{target.prefix}", str(folder)]
        return [str(venv / "bin" / "rclone"), *words], {
            "RCLONE_CONFIG": "/dev/null",
            "RCLONE_S3_PROVIDER": "Other",
            "RCLONE_S3_ENDPOINT": target.endpoint,
            "RCLONE_S3_REGION": target.region,
            "RCLONE_S3_ACCESS_KEY_ID": account.access_key,
            "RCLONE_S3_SECRET_ACCESS_KEY": account.secret_key,
        }

    checks = "no" if "--ignore-checksum" in options else "MD5 where the ETag is one, else size"
    return Client(" ".join(("rclone", *options)), call, checks, "rclone")


def kserve(venv: Path) -> Client:
    """What KServe's storage initializer runs: its own package, four processes by default."""

    def call(target: Target, folder: Path) -> tuple[list[str], dict[str, str]]:
        code = (
            "import sys; from kserve_storage import Storage; "
            "Storage.download_files([sys.argv[1]], [sys.argv[2]])"
        )
        return [str(venv / "bin" / "python"), "-c", code, target.source, str(folder)], {}

    return Client("KServe", call, "no: as aws s3 cp", "kserve")


def limit_of_server() -> Client:
    """Receive everything over 16 connections and write nothing."""
    return Client(SERVER, _limit("server"), "discards")


def limit_of_disk() -> Client:
    """Write as many bytes in as many files past the page cache, and receive nothing."""
    return Client(DISK, _limit("disk"), "writes only")


def limit_of_both() -> Client:
    """Receive everything and write it past the page cache, and do nothing else."""
    return Client(BOTH, _limit("both"), "writes what came")


def _limit(which: str) -> Call:
    def call(target: Target, folder: Path) -> tuple[list[str], dict[str, str]]:
        python, env = as_shipped()
        words = [python, "-m", "bench.rivals.limits", which, str(folder)]
        return words, env | {"BENCH_TARGET": target.as_json()}

    return call


def all_clients(venvs: Mapping[str, Path]) -> list[Client]:
    """Everybody who takes turns, as far as what they need is installed: torpor, the rivals, the limits."""
    made = [torpor()]
    makers: dict[str, list[Callable[[Path], Client]]] = {
        "aws": [aws],
        "s5cmd": [s5cmd, lambda venv: s5cmd(venv, "-c", "2", "-p", "16")],
        "rclone": [rclone, lambda venv: rclone(venv, "--ignore-checksum")],
        "kserve": [kserve],
    }
    for name, venv in venvs.items():
        made += [make(venv) for make in makers[name]]
    return [*made, limit_of_server(), limit_of_disk(), limit_of_both()]
