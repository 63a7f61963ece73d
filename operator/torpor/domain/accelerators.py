"""GPUs that torpor knows by the names in price lists: the memory that a program sees, and the label of their nodes.

The same figures as the chart's catalogue (a test holds that). Nothing here is a guess: what is not listed is unknown.
"""

from __future__ import annotations

from dataclasses import dataclass

NVIDIA = "nvidia.com/gpu"
AMD = "amd.com/gpu"
PRODUCT_LABELS = {NVIDIA: "nvidia.com/gpu.product", AMD: "amd.com/gpu.product-name"}
"""Label that tells which GPU a node has, by resource, as the vendors' own tools set it."""


@dataclass(frozen=True, slots=True)
class Accelerator:
    """One kind of GPU."""

    gpu_class: str
    """Name of its GPUClass in the chart."""
    memory_mib: int
    """As the driver shows it, which is less than on the data sheet."""
    gpus_per_node: int
    """GPUs of the largest machine that it is sold in."""
    product: str
    """Value of its nodes' product label."""
    resource: str = NVIDIA

    @property
    def node_selector(self) -> dict[str, str]:
        """Labels of the nodes that have it."""
        return {PRODUCT_LABELS[self.resource]: self.product}


_ACCELERATORS = (
    Accelerator("l4", 23034, 8, "NVIDIA-L4"),
    Accelerator("a10g", 23028, 8, "NVIDIA-A10G"),
    Accelerator("l40s", 46068, 8, "NVIDIA-L40S"),
    Accelerator("a100-40", 40536, 8, "NVIDIA-A100-SXM4-40GB"),
    Accelerator("a100-80", 81251, 8, "NVIDIA-A100-SXM4-80GB"),
    Accelerator("a100-80-pcie", 81251, 4, "NVIDIA-A100-80GB-PCIe"),
    Accelerator("h100", 81559, 8, "NVIDIA-H100-80GB-HBM3"),
    Accelerator("h200", 143771, 8, "NVIDIA-H200"),
    Accelerator("b200", 183359, 8, "NVIDIA-B200"),
    Accelerator("mi300x", 196592, 8, "AMD_Instinct_MI300X_OAM", AMD),
)
ACCELERATORS = {known.gpu_class: known for known in _ACCELERATORS}
"""By the name of the GPUClass."""
_LISTED_AS = {
    "A100": "a100-40",
    "A100-80GB": "a100-80",
    "A100-80GB-SXM": "a100-80",
    "H100-SXM": "h100",
    "H200-SXM": "h200",
}
"""Names in price lists that are not simply the class's name in capitals."""
TOLERANCE_PERCENT = 10
"""How far a list's memory may be from the driver's: data sheets say up to 7 % more. Beyond, it is another GPU."""


def listed(name: str, memory_mib: int | None) -> Accelerator | None:
    """Return the GPU that a price list calls *name* and gives *memory_mib*, if that is one torpor knows."""
    known = ACCELERATORS.get(_LISTED_AS.get(name, name.lower()))
    if known is None or memory_mib is None:
        return known
    apart = abs(memory_mib - known.memory_mib) * 100
    return known if apart <= known.memory_mib * TOLERANCE_PERCENT else None


def with_product(product: str) -> Accelerator | None:
    """Return the GPU whose nodes carry this product label."""
    return next((known for known in _ACCELERATORS if known.product == product), None)
