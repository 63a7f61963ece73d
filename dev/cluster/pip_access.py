"""Let pip inside an image build reach what pip on this machine reaches, and leave no trace of it.

The machine's pip settings (files and PIP_* variables) become one pip.conf that exists only while
the build runs, mounted into it. Files that they name (certificates, folders of wheels) are mounted
beside it. Nothing of it is an argument, a variable or a file of the image.
"""

from __future__ import annotations

import configparser
import os
import shutil
from pathlib import Path

from .places import Places, pip_environment

BUILD_FOLDER = "/run/torpor-build"
IGNORED = {"config-file", "no-index", "target", "prefix", "user", "require-virtualenv", "python"}
"""Settings about where to install on this machine, which mean something else in a build."""


def pip_settings(files: list[Path], variables: dict[str, str]) -> dict[str, dict[str, str]]:
    """Sections → settings: later files win over earlier ones, variables over files."""
    sections: dict[str, dict[str, str]] = {"global": {}}
    for path in files:
        parser = configparser.RawConfigParser()
        parser.read(path)
        for section in parser.sections():
            sections.setdefault(section, {}).update(parser.items(section))
    for name, value in variables.items():
        sections["global"][name.removeprefix("PIP_").lower().replace("_", "-")] = value
    return {
        section: {key: value for key, value in settings.items() if key not in IGNORED}
        for section, settings in sections.items()
    }


def machine_pip_files() -> list[Path]:
    """Where pip on this machine reads settings, least specific first."""
    home = Path.home()
    named = os.environ.get("PIP_CONFIG_FILE")
    files = [Path("/etc/pip.conf"), home / ".pip/pip.conf", home / ".config/pip/pip.conf"]
    return [*files, Path(named)] if named else files


def prepare_pip_access(where: Places) -> Path:
    """A folder to mount at BUILD_FOLDER: pip.conf, what it names, and a cache of downloads."""
    folder = where.run / "pip"
    shutil.rmtree(folder / "named", ignore_errors=True)
    (folder / "named").mkdir(parents=True, exist_ok=True)
    sections = pip_settings(machine_pip_files(), pip_environment())
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    if bundle:
        sections["global"].setdefault("cert", bundle)
    for settings in sections.values():
        for key in ("cert", "client-cert", "find-links"):
            if key in settings:
                settings[key] = _bring(settings[key], folder, key)
    sections["global"]["cache-dir"] = f"{BUILD_FOLDER}/cache"
    parser = configparser.RawConfigParser()
    parser.read_dict({name: found for name, found in sections.items() if found})
    with (folder / "pip.conf").open("w") as conf:
        parser.write(conf)
    (folder / "pip.conf").chmod(0o600)
    return folder


def _bring(value: str, folder: Path, key: str) -> str:
    """Copy what a setting names on this machine into the folder; addresses stay as they are."""
    brought = []
    for number, word in enumerate(value.split()):
        source = Path(word.removeprefix("file://"))
        name = f"{key}-{number}"
        if source.is_dir():
            shutil.copytree(source, folder / "named" / name)
        elif source.is_file():
            shutil.copy(source, folder / "named" / name)
        elif "://" not in word:
            continue
        else:
            brought.append(word)
            continue
        brought.append(f"{BUILD_FOLDER}/named/{name}")
    return " ".join(brought)
