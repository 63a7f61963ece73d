"""The two S3 servers, on loopback, over one folder of plain files: what is uploaded to one, both serve."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.rivals.target import Target
from dev.cluster import HarnessError
from dev.cluster.commands import wait_until
from dev.cluster.objectstore import REGION, Account
from dev.cluster.places import child_environment
from dev.ports import free_port

VERSITYGW, RCLONE = "versitygw", "rclone"
SERVERS = (VERSITYGW, RCLONE)
HOST = "127.0.0.1"
START_SECONDS = 15.0
STOP_SECONDS = 10.0


@contextmanager
def serve(name: str, program: Path, work: Path, account: Account) -> Iterator[Target]:
    """Run a server over `work`/data until the block ends.

    Raises:
        HarnessError: it ended, or does not listen.
    """
    (work / "data").mkdir(parents=True, exist_ok=True)
    (work / "iam").mkdir(exist_ok=True)
    port = free_port()
    command, env = _call(name, program, work, account, port)
    log = work / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=child_environment(**env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        wait_until(f"{name} listens", lambda: _listens(process, port, log), timeout=START_SECONDS)
        yield Target(name, f"http://{HOST}:{port}", account)
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes], grace: float = STOP_SECONDS) -> None:
    """SIGTERM to this very process, SIGKILL after the grace."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(grace)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _call(
    name: str, program: Path, work: Path, account: Account, port: int
) -> tuple[list[str], dict[str, str]]:
    if name == RCLONE:
        words = ["serve", "s3", "--addr", f"{HOST}:{port}", "--read-only", str(work / "data")]
        key = f'"{account.access_key},{account.secret_key}"'
        return [str(program), *words], {"RCLONE_CONFIG": os.devnull, "RCLONE_AUTH_KEY": key}
    options = [f"--port={HOST}:{port}", f"--region={REGION}", f"--iam-dir={work / 'iam'}"]
    options += ["--quiet", "--keep-alive", "posix", str(work / "data")]
    return [str(program), *options], {
        "ROOT_ACCESS_KEY_ID": account.access_key,
        "ROOT_SECRET_ACCESS_KEY": account.secret_key,
    }


def _listens(process: subprocess.Popen[bytes], port: int, log: Path) -> bool:
    if process.poll() is not None:
        told = log.read_text(errors="replace").splitlines()[-5:]
        raise HarnessError(f"{log.stem} ended with {process.returncode}:\n" + "\n".join(told))
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True
