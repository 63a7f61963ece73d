"""What the gateways themselves tell of the wakes that they began."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import aiohttp

from bench.frame.stage import Stage
from torpor.settings.programs import GatewaySettings

Json = dict[str, Any]
INTERNAL_PORT: int = GatewaySettings.model_fields["internal_port"].default


async def told_wakes(stage: Stage, names: Iterable[str], since: float) -> dict[str, list[Json]]:
    """Return each endpoint's wakes that began at *since* (epoch seconds) or later, the latest of a gateway first."""
    found: dict[str, list[Json]] = {name: [] for name in names}
    async with aiohttp.ClientSession() as session:
        for address in stage.torpor.gateway_pods():
            url = f"http://{address}:{INTERNAL_PORT}/internal/v1/demand"
            async with session.get(url) as answer:
                told: Json = (await answer.json())["endpoints"]
            for name, wakes in found.items():
                begun = reversed(told.get(f"{stage.namespace}/{name}", {}).get("wakes", []))
                wakes += [wake for wake in begun if wake["atMs"] >= since * 1000 - 1]
    return found
