"""Addresses of pods that are gone, kept back and then given to pods of others: a CNI does so by chance."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from dev.cluster.places import places

PERIOD = 0.05
"""Seconds between two looks; a kubelet needs several times that from seeing a pod to asking for its address."""


@asynccontextmanager
async def lent(
    owners: Mapping[str, str], waiting: Callable[[], Mapping[str, str]]
) -> AsyncIterator[None]:
    """Keep addresses back as they become free, and give each to a pod of somebody else, while the block runs.

    Without this the Jobs that check and fetch weights take them first, and who has which afterwards is luck.

    Args:
        owners: Whose each address was.
        waiting: Returns of each new pod that has no address yet whose it is, by its uid. Called in a thread.
    """
    kept: set[str] = set()
    given: dict[str, str] = {}  # pod → address

    async def lend() -> None:
        while True:
            kept.update(_keep(owners.keys() - kept - set(given.values())))
            for pod, owner in (await asyncio.to_thread(waiting)).items():
                strange = sorted(address for address in kept if owners[address] != owner)
                if strange and pod not in given:
                    given[pod] = strange[0]
                    kept.remove(strange[0])
                    _give_next(strange[0])
            await asyncio.sleep(PERIOD)

    lending = asyncio.create_task(lend())
    try:
        yield
    finally:
        lending.cancel()
        await asyncio.gather(lending, return_exceptions=True)
        for address in kept:
            (_reservations() / address).unlink()


def _reservations() -> Path:
    """The folder of the CNI plugin host-local, with a file for each address that is taken."""
    (found,) = (places().run / "addresses").glob("*/last_reserved_ip.0")
    return found.parent


def _keep(addresses: Iterable[str]) -> list[str]:
    """Take those of them that are free."""
    folder = _reservations()
    free = [address for address in addresses if not (folder / address).exists()]
    for address in free:
        (folder / address).write_text("kept back")
    return free


def _give_next(address: str) -> None:
    """Free an address, as the first that is looked at when the next one is asked for."""
    folder = _reservations()
    new = folder / "last_reserved_ip.new"
    new.write_text(str(ipaddress.IPv4Address(address) - 1))  # the search begins behind it
    (folder / address).unlink()
    new.rename(folder / "last_reserved_ip.0")
