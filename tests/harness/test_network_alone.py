"""The network is raised and taken away again, tried for real in a network namespace of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.cluster
REPO = Path(__file__).resolve().parents[2]
ENTER = 'mount -t sysfs sysfs /sys && exec "$0" -c "$@"'
"""/sys shows the interfaces of the namespace it was mounted in."""
SCRIPT = """
import sys
from pathlib import Path
from dev.cluster import network
from dev.cluster.commands import run
from dev.cluster.places import BRIDGE, POD_BRIDGE, Places

where = Places(repo=Path("/"), cache=Path(sys.argv[1]) / "cache", run=Path(sys.argv[1]))

def seen():
    return run(["iptables-save"]).count("KUBE-"), run(["ip", "-o", "link"]).count("torpor")

network.FORWARDING.write_text("0")
network.check_network(where)
network.raise_network(where)
network.raise_network(where)
run(["ip", "link", "add", POD_BRIDGE, "type", "bridge"])
run(["ip", "link", "add", "veth-pod", "type", "veth", "peer", "name", "inside"])
run(["ip", "link", "set", "veth-pod", "master", POD_BRIDGE])
for chain in ("KUBE-SERVICES", "KUBE-MARK"):
    run(["iptables", "-t", "nat", "-N", chain])
run(["iptables", "-t", "nat", "-A", "KUBE-SERVICES", "-j", "KUBE-MARK"])
comment = ["-m", "comment", "--comment", "a comment with spaces"]
run(["iptables", "-t", "nat", "-A", "PREROUTING", *comment, "-j", "KUBE-SERVICES"])
network.check_network(where)
print("raised", network.FORWARDING.read_text().strip(), seen()[1] >= 2, network.FENCE in run(["iptables-save"]))
network.drop_network(where, Path("/nowhere"))
rules = run(["iptables-save"])
print("dropped", network.FORWARDING.read_text().strip(), seen(), network.FENCE in rules)
print("port", network.interface_exists("veth-pod"))
run(["iptables", "-t", "nat", "-N", "KUBE-SERVICES"])
try:
    network.check_network(where)
except network.HarnessError as refused:
    print("refused", "another cluster" in str(refused))
network.drop_network(where, Path("/nowhere"))
print("theirs", "KUBE-SERVICES" in run(["iptables-save"]))
"""


def test_the_network_goes_as_it_came_and_anothers_stays(tmp_path: Path) -> None:
    done = subprocess.run(
        ["unshare", "--net", "--mount", "sh", "-c", ENTER, sys.executable, SCRIPT, str(tmp_path)],
        cwd=REPO,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "raised 1 True True",
        "dropped 0 (0, 0) False",
        "port False",
        "refused True",
        "theirs True",
    ]
