"""The cluster's network on this machine: two bridges, one fence, and how to take them away again.

The fence is a chain of ours in front of FORWARD: pods talk to each other and to the host's own
address, nothing they send leaves the machine and nobody outside reaches them.
"""

from __future__ import annotations

import ipaddress
import json
from functools import partial
from pathlib import Path

from .commands import run, succeeds, wait_until
from .errors import HarnessError
from .places import BRIDGE, HOST_IP, HOST_NET, POD_BRIDGE, POD_NET, SERVICE_NET, Places

FENCE = "TORPOR-DEV"
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
BRIDGE_FILTER = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
IPTABLES = ("iptables", "-w", "10")
FENCE_RULES: tuple[tuple[str, ...], ...] = (
    ("-i", POD_BRIDGE, "-o", POD_BRIDGE, "-j", "ACCEPT"),
    ("-i", POD_BRIDGE, "-j", "REJECT"),
    ("-o", POD_BRIDGE, "-j", "REJECT"),
)


def is_foreign_chain(line: str) -> bool:
    """Whether a line of `iptables-save` declares a chain that a kube-proxy makes."""
    return line.startswith(":KUBE-")


def check_network(places: Places) -> None:
    """Refuse to share the machine with a cluster or a network that is not ours.

    Raises:
        HarnessError: another kube-proxy's rules are here, or our address ranges are taken.
    """
    if not owns_network(places):
        for table in ("nat", "filter"):
            rules = run(["iptables-save", "-t", table]).splitlines()
            if any(is_foreign_chain(line) for line in rules):
                raise HarnessError(
                    f"this machine already carries Kubernetes' iptables chains (table {table}) "
                    "that the harness did not make: it does not touch another cluster's node"
                )
    taken = clashing_routes(run(["ip", "-j", "-4", "route", "show", "table", "all"]))
    if taken:
        raise HarnessError(
            f"{taken[0]} is in use here, the cluster needs {HOST_NET}, {POD_NET}, {SERVICE_NET}"
        )


def clashing_routes(routes: str) -> list[str]:
    """Routes of other interfaces, as `ip -j route` prints them, that overlap our ranges."""
    ours = [ipaddress.ip_network(net) for net in (HOST_NET, POD_NET, SERVICE_NET)]
    clashes = []
    for route in json.loads(routes):
        target, device = str(route.get("dst", "default")), str(route.get("dev", "?"))
        if target == "default" or device in (BRIDGE, POD_BRIDGE):
            continue
        try:
            network = ipaddress.ip_network(target, strict=False)
        except ValueError:
            continue
        if any(network.overlaps(mine) for mine in ours):
            clashes.append(f"{target} on {device}")
    return clashes


def _claim(places: Places) -> Path:
    """Exists while the Kubernetes chains on this machine are ours; holds ip_forward's old value."""
    return places.run / "network-is-ours"


def owns_network(places: Places) -> bool:
    """Whether this harness made the network that stands."""
    return _claim(places).exists()


def raise_network(places: Places) -> None:
    """Make bridge, address, forwarding and fence; does nothing where they stand."""
    if not owns_network(places):
        _claim(places).write_text(FORWARDING.read_text())
    if not interface_exists(BRIDGE):
        run(["ip", "link", "add", BRIDGE, "type", "bridge"])
    run(["ip", "address", "replace", f"{HOST_IP}/24", "dev", BRIDGE])
    run(["ip", "link", "set", BRIDGE, "up"])
    FORWARDING.write_text("1")
    if not BRIDGE_FILTER.exists():
        succeeds(["modprobe", "br_netfilter"])
    if not BRIDGE_FILTER.exists():
        raise HarnessError(
            "the kernel module br_netfilter is missing: without it a pod cannot reach another one "
            "on this node by a Service's address"
        )
    BRIDGE_FILTER.write_text("1")
    _raise_fence()


def _raise_fence() -> None:
    if not succeeds([*IPTABLES, "-n", "-L", FENCE]):
        run([*IPTABLES, "-N", FENCE])
    for rule in FENCE_RULES:
        if not succeeds([*IPTABLES, "-C", FENCE, *rule]):
            run([*IPTABLES, "-A", FENCE, *rule])
    if not succeeds([*IPTABLES, "-C", "FORWARD", "-j", FENCE]):
        run([*IPTABLES, "-I", "FORWARD", "1", "-j", FENCE])


def interface_exists(name: str) -> bool:
    """Whether a network interface of that name is on this machine."""
    return Path("/sys/class/net", name).exists()


def bridge_ports(bridge: str) -> list[str]:
    """Interfaces in a bridge. The kernel takes its time to end a dead pod's network: they linger."""
    ports = Path("/sys/class/net", bridge, "brif")
    return sorted(path.name for path in ports.iterdir()) if ports.is_dir() else []


def _is_gone(name: str) -> bool:
    """A lingering interface may vanish by itself while it is being deleted."""
    return not interface_exists(name)


def drop_network(places: Places, kube_proxy: Path) -> None:
    """Take away bridges, the fence and kube-proxy's chains, if they are ours."""
    for name in (*bridge_ports(POD_BRIDGE), POD_BRIDGE, BRIDGE):
        if interface_exists(name) and not succeeds(["ip", "link", "delete", name]):
            wait_until(f"{name} is gone", partial(_is_gone, name), timeout=10)
    while succeeds([*IPTABLES, "-D", "FORWARD", "-j", FENCE]):
        pass
    if succeeds([*IPTABLES, "-F", FENCE]):
        run([*IPTABLES, "-X", FENCE])
    if not owns_network(places):
        return
    if kube_proxy.exists():
        succeeds([kube_proxy, "--cleanup"])
    for command in ("iptables", "ip6tables"):
        for table in ("nat", "filter", "mangle"):
            _drop_kubernetes_chains(command, table)
    FORWARDING.write_text(_claim(places).read_text())
    _claim(places).unlink()


def _drop_kubernetes_chains(command: str, table: str) -> None:
    """What `kube-proxy --cleanup` leaves: a few chains that it thinks a kubelet still wants."""
    if not succeeds([command, "-w", "10", "-t", table, "-S"]):
        return
    rules = run([command, "-w", "10", "-t", table, "-S"]).splitlines()
    chains = [line.split()[1] for line in rules if line.startswith("-N KUBE-")]
    for line in rules:
        words = line.split()
        if words[0] == "-A" and not words[1].startswith("KUBE-") and " -j KUBE-" in line:
            jump = words[words.index("-j") + 1]
            _delete_jumps(command, table, words[1], jump)
    for verb in ("-F", "-X"):
        for chain in chains:
            run([command, "-w", "10", "-t", table, verb, chain])


def _delete_jumps(command: str, table: str, chain: str, target: str) -> None:
    """Delete by rule number, from the last: a rule's printed text does not always parse back."""
    listed = run([command, "-w", "10", "-t", table, "-n", "--line-numbers", "-L", chain])
    numbers = [line.split()[0] for line in listed.splitlines()[2:] if line.split()[1:2] == [target]]
    for number in reversed(numbers):
        run([command, "-w", "10", "-t", table, "-D", chain, number])
