"""The GPUs that torpor knows by name are those of the chart's catalogue, figure by figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from torpor.domain.accelerators import ACCELERATORS, Accelerator, listed, with_product

VALUES = Path(__file__).resolve().parents[2] / "charts" / "torpor" / "values.yaml"


def test_they_are_the_catalogue_of_the_chart() -> None:
    catalogue: dict[str, Any] = yaml.safe_load(VALUES.read_text())["gpuClasses"]["catalogue"]
    told = {
        name: (f"{known.memory_mib}Mi", known.gpus_per_node, known.node_selector, known.resource)
        for name, known in ACCELERATORS.items()
    }
    assert told == {
        name: (spec["memory"], spec["gpusPerNode"], spec["nodeSelector"], spec["resourceName"])
        for name, spec in catalogue.items()
    }


@pytest.mark.parametrize(
    ("name", "memory_mib", "gpu_class"),
    [
        pytest.param("H100", 81_920, "h100", id="as on the data sheet"),
        pytest.param("L4", 24_576, "l4", id="the one whose data sheet says most more"),
        pytest.param("A100", 40_960, "a100-40", id="a name of two sizes, the smaller"),
        pytest.param("A100", 81_920, None, id="that name with the other size is not it"),
        pytest.param("A100-80GB", None, "a100-80", id="without a size"),
        pytest.param("RTX6000", 24_576, None, id="unknown"),
    ],
)
def test_a_name_and_a_size_of_a_price_list_say_which_it_is(
    name: str, memory_mib: int | None, gpu_class: str | None
) -> None:
    found = listed(name, memory_mib)
    assert (found.gpu_class if found else None) == gpu_class


def test_a_product_label_says_which_it_is() -> None:
    assert all(with_product(known.product) is known for known in ACCELERATORS.values())
    assert with_product("NVIDIA-L40G") is None


def test_the_selector_is_the_vendors_label() -> None:
    assert Accelerator("x", 1, 1, "P").node_selector == {"nvidia.com/gpu.product": "P"}
