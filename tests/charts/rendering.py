"""The chart, rendered by the real helm into objects that tests can ask for."""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dev.cluster.programs import KUBERNETES

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "torpor"

Object = dict[str, Any]


class Refused(Exception):
    """What helm said when it refused to render."""


class Rendered(list[Object]):
    """The objects of one rendering, in the chart's order."""

    def one(self, kind: str, name: str) -> Object:
        """Give the object of this kind and name; fail when there is none or more than one."""
        found = [o for o in self if o["kind"] == kind and o["metadata"]["name"] == name]
        assert len(found) == 1, f"{len(found)} objects are {kind}/{name}"
        return found[0]

    def all(self, kind: str) -> list[Object]:
        """Give every object of this kind."""
        return [o for o in self if o["kind"] == kind]

    def pod(self, program: str) -> Object:
        """Give the pod's spec of a program: controller or gateway."""
        spec: Object = self.one("Deployment", f"torpor-{program}")["spec"]["template"]["spec"]
        return spec

    def variables(self, program: str) -> dict[str, Any]:
        """Give the environment of a program: name → value, or its source."""
        entries = self.pod(program)["containers"][0]["env"]
        return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in entries}


@dataclass(frozen=True)
class Helm:
    """One helm binary."""

    path: Path

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run it to the end, whatever its exit status."""
        command = [str(self.path), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def render(
        self, *values: str, namespace: str = "torpor-system", json: str = "", chart: Path = CHART
    ) -> Rendered:
        """Give the chart's objects with these values set (`"a.b=c"`, as `--set` takes them).

        Raises:
            Refused: the values do not fit the schema, or a template failed.
        """
        words = ["--namespace", namespace, "--kube-version", KUBERNETES]
        words += [word for value in values for word in ("--set", value)]
        words += ["--set-json", json] if json else []
        done = self.run("template", "torpor", str(chart), *words)
        if done.returncode:
            raise Refused(done.stderr.strip())
        return Rendered(o for o in yaml.safe_load_all(done.stdout) if o)
