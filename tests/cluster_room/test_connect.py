"""How requests reach the API server: no look at the machine's settings with each of them, and proxies all the same."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.cluster_room.kubeconfig import write_kubeconfig
from torpor.cluster.connect import connect

WAIT = aiohttp.ClientTimeout(total=5)


class Heard:
    """A server, or a proxy, that notes what it was asked and whether with credentials."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[tuple[str, str]] = []

    async def answer(self, request: web.BaseRequest) -> web.Response:
        self.asked.append((request.raw_path, request.headers.get("Authorization", "")))
        return web.json_response({})


@pytest.fixture
async def heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Heard]:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none"))  # reading them all takes long
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    made = Heard()
    runner = web.ServerRunner(web.Server(made.answer, access_log=None), shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


async def ask(folder: Path, server: str, **cluster: str) -> None:
    """Ask for `/version` as a program with this kubeconfig does."""
    api = await connect(write_kubeconfig(folder, server, **cluster))
    try:
        (await api.send("GET", "/version", timeout=WAIT)).close()
    finally:
        await api.close()


async def test_a_netrc_of_the_machine_is_not_looked_at(
    heard: Heard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    await ask(tmp_path, heard.url)
    assert heard.asked == [("/version", "")]


async def test_a_proxy_of_the_environment_is_asked(
    heard: Heard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", heard.url)
    await ask(tmp_path, "http://kube.invalid")
    assert heard.asked == [("http://kube.invalid/version", "")]


async def test_a_proxy_is_passed_by_where_the_environment_says_so(
    heard: Heard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.invalid:3128")
    monkeypatch.setenv("NO_PROXY", "127.0.0.0,127.0.0.1")
    await ask(tmp_path, heard.url)
    assert heard.asked == [("/version", "")]


async def test_the_kubeconfigs_proxy_goes_before_the_environments(
    heard: Heard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.invalid:3128")
    await ask(tmp_path, "http://kube.invalid", **{"proxy-url": heard.url})
    assert heard.asked == [("http://kube.invalid/version", "")]
