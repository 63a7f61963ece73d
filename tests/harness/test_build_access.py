"""pip inside an image build goes where this machine's pip goes, and no secret enters the image."""

from __future__ import annotations

import configparser
from pathlib import Path

import pytest

from dev.cluster.pip_access import BUILD_FOLDER, pip_settings, prepare_pip_access
from dev.cluster.places import Places

REPO = Path(__file__).resolve().parents[2]


def test_later_files_win_over_earlier_ones_and_variables_over_files(tmp_path: Path) -> None:
    first, second = tmp_path / "a.conf", tmp_path / "b.conf"
    first.write_text("[global]\ntimeout = 1\nretries = 2\n[install]\nno-binary = x\n")
    second.write_text("[global]\ntimeout = 3\n")
    settings = pip_settings([first, tmp_path / "absent", second], {"PIP_RETRIES": "9"})
    assert settings == {"global": {"timeout": "3", "retries": "9"}, "install": {"no-binary": "x"}}


def test_settings_about_this_machines_installs_are_left_out() -> None:
    variables = {
        "PIP_TARGET": "/here",
        "PIP_USER": "1",
        "PIP_INDEX_URL": "https://index.test/simple",
    }
    assert pip_settings([], variables)["global"] == {"index-url": "https://index.test/simple"}


def test_named_files_come_along_and_addresses_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = Places(repo=tmp_path, cache=tmp_path / "cache", run=tmp_path / "run")
    bundle, wheels = tmp_path / "ca.pem", tmp_path / "wheels"
    bundle.write_text("certificate")
    wheels.mkdir()
    (wheels / "a.whl").write_text("wheel")
    monkeypatch.setenv("PIP_CERT", str(bundle))
    monkeypatch.setenv("PIP_FIND_LINKS", f"{wheels} https://links.test/ {tmp_path}/gone")
    folder = prepare_pip_access(where)
    conf = configparser.RawConfigParser()
    conf.read(folder / "pip.conf")
    settings = dict(conf.items("global"))
    assert settings["cert"] == f"{BUILD_FOLDER}/named/cert-0"
    assert settings["find-links"] == f"{BUILD_FOLDER}/named/find-links-0 https://links.test/"
    assert (folder / "named" / "cert-0").read_text() == "certificate"
    assert (folder / "named" / "find-links-0" / "a.whl").read_text() == "wheel"
    assert (folder / "pip.conf").stat().st_mode & 0o077 == 0


def test_the_dockerfile_names_no_index_and_keeps_no_build_argument_but_the_base() -> None:
    text = (REPO / "Dockerfile").read_text()
    arguments = [line for line in text.splitlines() if line.startswith("ARG")]
    assert arguments == ["ARG BASE=python:3.13-slim"]
    assert "index-url" not in text
    assert "PIP_" not in text
