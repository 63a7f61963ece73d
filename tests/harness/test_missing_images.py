"""The registry that has nothing, asked on a real port, and the pause image's archive."""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer

import pytest

from dev.cluster.base_image import base_tag, pause_archive
from dev.cluster.registry import NoImages
from dev.cluster.runtime import PAUSE_IMAGE


@pytest.fixture
def registry() -> Iterator[http.client.HTTPConnection]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), NoImages)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=5)
    yield connection
    connection.close()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_every_image_is_not_found(registry: http.client.HTTPConnection, method: str) -> None:
    registry.request(method, "/v2/library/nothing/manifests/1?ns=docker.io")
    answer = registry.getresponse()
    body = answer.read()
    assert answer.status == 404
    if method == "GET":
        assert json.loads(body)["errors"][0]["code"] == "MANIFEST_UNKNOWN"


def test_the_protocol_itself_is_confirmed(registry: http.client.HTTPConnection) -> None:
    registry.request("GET", "/v2/")
    answer = registry.getresponse()
    answer.read()
    assert answer.status == 200


def test_the_pause_archive_is_an_image_of_that_one_program() -> None:
    with tarfile.open(fileobj=io.BytesIO(pause_archive(b"program"))) as archive:
        content = {name: archive.extractfile(name).read() for name in archive.getnames()}  # type: ignore[union-attr]
    [manifest] = json.loads(content["manifest.json"])
    assert manifest["RepoTags"] == [PAUSE_IMAGE]
    layer = content[manifest["Layers"][0]]
    config = json.loads(content[manifest["Config"]])
    assert config["rootfs"]["diff_ids"] == ["sha256:" + hashlib.sha256(layer).hexdigest()]
    with tarfile.open(fileobj=io.BytesIO(layer)) as files:
        assert files.getnames() == ["pause"]
        assert files.getmember("pause").mode == 0o755


def test_the_base_images_tag_names_its_recipe() -> None:
    assert base_tag().startswith("localhost/torpor-base:bookworm-")
