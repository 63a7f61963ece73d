"""A scenario of the benchmarks as a test, which gives its GPUs back at the end."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from tests.cluster.apiserver import ENDPOINTS
from tests.cluster.space import Space

T = TypeVar("T")


def played(space: Space, scenario: Coroutine[Any, Any, T]) -> T:
    """Run a scenario and return what it found; its endpoints are deleted, whatever it found."""
    try:
        return asyncio.run(scenario)
    finally:
        for endpoint in space.api.items(space.path(ENDPOINTS)):
            space.api.delete(space.path(ENDPOINTS, endpoint["metadata"]["name"]))
