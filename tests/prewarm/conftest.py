"""A real S3 server for the whole run, an empty bucket and an empty cache for each test."""

import json
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dev.hub.repositories import Repository
from dev.hub.server import HubServer
from tests.prewarm.hubworld import REPO
from tests.prewarm.nodecache import LONG_AGO, age, now
from tests.prewarm.s3server import OWNER, Bucket, Server, make_certificates
from torpor.prewarm.program import carry_out, parse_order
from torpor.settings.prewarm import PrewarmSettings

PART = 64 * 1024
BUDGET = 20 * PART
"""Of the node cache's tests: two of their checkpoints fit, three do not."""


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("s3"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@dataclass
class Secured:
    """The https listener, and the authority that signed its certificate."""

    server: Server
    authority: Path


@pytest.fixture(scope="session")
def s3_tls(s3: Server) -> Iterator[Secured]:
    authority, certificate = make_certificates(s3.folder / "pki")
    server = Server(s3.folder, certificate)
    try:
        server.start()
        yield Secured(server, authority)
    finally:
        server.stop()


@pytest.fixture
def bucket(s3: Server) -> Bucket:
    name = f"b-{uuid.uuid4().hex[:12]}"
    s3.client().create_bucket(Bucket=name)
    return Bucket(s3, name)


@dataclass
class Prewarm:
    """Runs the program's modes in this process, with settings given as values."""

    folder: Path
    settings: PrewarmSettings

    @property
    def cache(self) -> Path:
        return Path(self.settings.cache_dir)

    def model(self, name: str) -> Path:
        return self.cache / "models" / name

    def run(self, *argv: str, **changed: Any) -> dict[str, Any]:
        """Return what the termination log holds; the exit status must agree with it."""
        order = parse_order(list(argv))
        assert order is not None
        status = carry_out(order, self.settings._replace(**changed))
        result: dict[str, Any] = json.loads(Path(self.settings.termination_log).read_text())
        good = result["reason"] in ("Listed", "Ready", "Hit", "Collected")
        assert status == (0 if good else 1)
        assert good or set(result) == {"reason", "message", "retryable"}
        return result

    def assert_nothing_left(self) -> None:
        """No copy, no part of one, no file but locks."""
        left = [
            path for path in self.cache.rglob("*") if path.is_file() and path.parent.name != "locks"
        ]
        assert left == []

    def assert_nothing_published(self) -> None:
        """No copy that an engine could take for one."""
        assert list(self.cache.glob("models/*")) == []

    def assert_holds(self, result: dict[str, Any], files: dict[str, bytes]) -> None:
        """The copy has these files, byte for byte, and nothing else but torpor's own."""
        model = self.model(result["hash"])
        found = {
            str(path.relative_to(model)): path.read_bytes()
            for path in model.rglob("*")
            if path.is_file() and path.parent.name != ".torpor"
        }
        assert found.keys() == files.keys()
        assert all(found[key] == body for key, body in files.items())
        assert (result["files"], result["bytes"]) == (
            len(files),
            sum(len(body) for body in files.values()),
        )

    def environ(self, **changed: Any) -> dict[str, str]:
        """The same settings as a pod would be given them."""
        settings = self.settings._replace(**changed)
        return {
            "PYTHONPATH": str(Path(__file__).parents[2] / "operator"),
            "TORPOR_SOURCE": settings.source,
            "TORPOR_S3_ENDPOINT": settings.endpoint,
            "TORPOR_S3_PATH_STYLE": "true",
            "AWS_ACCESS_KEY_ID": settings.access_key,
            "AWS_SECRET_ACCESS_KEY": settings.secret_key,
            "TORPOR_CACHE_DIR": settings.cache_dir,
            "TORPOR_TERMINATION_LOG": settings.termination_log,
            "TORPOR_PREWARM_PART_BYTES": str(settings.part_bytes),
            "TORPOR_CACHE_BUDGET_BYTES": str(settings.budget_bytes),
            "TORPOR_CACHE_KEEP": settings.keep,
            "TORPOR_CACHE_KEEP_AS_OF": str(settings.keep_as_of),
            "TORPOR_LAST_USE": str(settings.last_use),
        }


def make_settings(folder: Path, bucket: Bucket) -> PrewarmSettings:
    """What a pod is told that fetches `llama/`, with the cache in that folder."""
    return PrewarmSettings(
        source=f"s3://{bucket.name}/llama/",
        endpoint=bucket.server.endpoint,
        path_style=True,
        access_key=OWNER[0],
        secret_key=OWNER[1],
        cache_dir=str(folder / "cache"),
        termination_log=str(folder / "termination-log"),
        part_bytes=PART,
        part_attempts=3,
    )


@pytest.fixture
def prewarm(tmp_path: Path, bucket: Bucket) -> Prewarm:
    return Prewarm(tmp_path, make_settings(tmp_path, bucket))


@dataclass
class Full:
    """A cache that holds two old copies, `first` used before `second`, and a Job that wants a third in."""

    prewarm: Prewarm
    first: str
    second: str
    job: dict[str, Any]


@pytest.fixture(scope="session")
def two_copies(
    s3: Server, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Bucket, Path, str, str]:
    """A bucket with three checkpoints, and a cache that holds two of them; made once, copied for each test."""
    bucket = Bucket(s3, f"b-{uuid.uuid4().hex[:12]}")
    s3.client().create_bucket(Bucket=bucket.name)
    folder = tmp_path_factory.mktemp("two-copies")
    prewarm = Prewarm(folder, make_settings(folder, bucket))
    for prefix in ("one/", "two/", "llama/"):
        bucket.put_checkpoint(prefix, shard_bytes=4 * PART)
    first, second = (
        str(prewarm.run("fetch", source=f"s3://{bucket.name}/{prefix}/")["hash"])
        for prefix in ("one", "two")
    )
    age(prewarm, first, LONG_AGO)
    age(prewarm, second, LONG_AGO + 10)
    return bucket, prewarm.cache, first, second


@pytest.fixture
def full(two_copies: tuple[Bucket, Path, str, str], tmp_path: Path) -> Full:
    bucket, cache, first, second = two_copies
    prewarm = Prewarm(tmp_path, make_settings(tmp_path, bucket))
    shutil.copytree(cache, prewarm.cache)
    job = {"budget_bytes": BUDGET, "keep_as_of": now(), "last_use": LONG_AGO + 20}
    return Full(prewarm, first, second, job)


@pytest.fixture
def admin(s3: Server) -> "Admin":
    return Admin(s3)


@dataclass
class Admin:
    """Accounts of the real server."""

    server: Server

    def create_user(self, access: str, secret: str) -> None:
        from tests.prewarm.s3server import find_versitygw

        call = [find_versitygw(), "admin", "--access", OWNER[0], "--secret", OWNER[1]]
        call += ["--endpoint-url", self.server.endpoint, "create-user"]
        call += ["--access", access, "--secret", secret, "--role", "user"]
        subprocess.run(call, check=True, capture_output=True)


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer({REPO: Repository(REPO)}) as server:
        yield server
    from huggingface_hub import close_session  # takes half a second to import

    close_session()


@pytest.fixture
def hf(prewarm: Prewarm, bucket: Bucket, hub: HubServer) -> Prewarm:
    prewarm.settings = prewarm.settings._replace(
        source=f"hf://{REPO}", hub_endpoint=hub.url, hub_mirror=f"s3://{bucket.name}/hub/"
    )
    return prewarm
