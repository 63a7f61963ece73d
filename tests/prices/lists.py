"""Small price lists in the form that SkyPilot's catalogue has; the figures are made up."""

from __future__ import annotations

import csv
import io

import pytest

from torpor.api.gpuclass import GPUClass
from torpor.prices.listing import BadList, Taken
from torpor.prices.program import take
from torpor.prices.skypilot import Wanted

COLUMNS = (
    "InstanceType", "vCPUs", "MemoryGiB", "AcceleratorName", "AcceleratorCount", "GpuInfo",
    "Price", "SpotPrice", "Region", "AvailabilityZone",
)  # fmt: skip


def info(name: str, count: int, mib: int) -> str:
    """Return the cell that tells of the GPUs: a Python literal in single quotes, as the catalogues have it."""
    gpu = {
        "Name": name,
        "Manufacturer": "NVIDIA",
        "Count": count,
        "MemoryInfo": {"SizeInMiB": mib},
    }
    return str({"Gpus": [gpu], "TotalGpuMemoryInMiB": count * mib})


def row(shape: str, gpu: str = "", count: str = "", price: str = "", **more: str) -> dict[str, str]:
    """Return one row; what is not given is empty."""
    cells = {"InstanceType": shape, "AcceleratorName": gpu, "AcceleratorCount": count}
    return cells | {"Price": price, "Region": "north-1", "vCPUs": "8", "MemoryGiB": "32"} | more


def text(*rows: dict[str, str], columns: tuple[str, ...] = COLUMNS) -> str:
    """Return a list as CSV."""
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def classes_in(taken: Taken) -> dict[str, GPUClass]:
    """Return the classes by name, read as the cluster would."""
    found = [GPUClass.model_validate(manifest.body) for manifest in taken.manifests]
    return {gpu_class.name: gpu_class for gpu_class in found}


def refusal(file: str, list_text: str, wanted: Wanted) -> list[str]:
    """Return the sentences with which a list is refused."""
    with pytest.raises(BadList) as caught:
        take(list_text, file, wanted)
    return caught.value.sentences
