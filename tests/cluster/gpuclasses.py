"""GPU classes of a test's or a benchmark's own, beside those that the chart brings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tests.cluster.apiserver import ApiServer, Json

GPU_CLASSES = "/apis/torpor.dev/v1alpha1/gpuclasses"
L40S_NODES = {"nvidia.com/gpu.product": "NVIDIA-L40S"}
"""Labels of the harness's node."""


@contextmanager
def having_classes(
    api: ApiServer,
    labels: Mapping[str, str],
    prices: Mapping[str, Json],
    capacity: str = "on-demand",
) -> Iterator[None]:
    """Have a class for each of *prices* while the block runs, all of the nodes with these labels."""
    for name, price in prices.items():
        spec = {
            "memory": "44Gi",
            "gpusPerNode": 8,
            "nodeSelector": labels,
            "price": price,
            "capacityType": capacity,
        }
        body = {
            "apiVersion": "torpor.dev/v1alpha1",
            "kind": "GPUClass",
            "metadata": {"name": name},
            "spec": spec,
        }
        api.apply(f"{GPU_CLASSES}/{name}", body)
    try:
        yield
    finally:
        for name in prices:
            api.delete(f"{GPU_CLASSES}/{name}")
