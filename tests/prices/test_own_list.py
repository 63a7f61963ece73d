"""torpor's own price list: a GPU per row, in any currency, with what torpor knows filled in."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest

from tests.prices.lists import classes_in, refusal
from torpor.api.gpuclass import CapacityType, GPUClass
from torpor.prices.program import take
from torpor.prices.skypilot import Wanted

WANTED = Wanted(cloud="", region=None, as_of="2026-11-20")
FULL = (
    "gpu_class,product,memory,gpus_per_node,price_per_gpu_hour,currency,capacity_type,provider,region,zone,jurisdiction,"
    "as_of,source\n"
)


def classes(text: str, wanted: Wanted = WANTED) -> dict[str, GPUClass]:
    return classes_in(take(text, "ours.csv", wanted))


def refused(text: str, wanted: Wanted = WANTED) -> list[str]:
    return refusal("ours.csv", text, wanted)


def test_two_columns_are_enough_for_a_gpu_that_torpor_knows() -> None:
    spec = classes("gpu_class,price_per_gpu_hour\nh100,2.50\n")["h100"].spec
    assert spec.price is not None
    assert (spec.price.per_gpu_hour, spec.price.currency) == (Decimal("2.50"), "USD")
    assert (spec.price.as_of, spec.price.source) == ("2026-11-20", "ours.csv line 2")
    assert (spec.memory, spec.gpus_per_node) == (81559 * 2**20, 8)
    assert spec.node_selector == {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}


def test_every_column_is_taken() -> None:
    line = "lab,NVIDIA-RTX-A6000,48Gi,4,0.35,EUR,reserved,us,eu-1,eu-1b,DE,2026-10-01,contract 7\n"
    spec = classes(FULL + line)["lab"].spec
    assert spec.price is not None
    assert (spec.price.currency, spec.price.as_of, spec.price.source) == (
        "EUR",
        "2026-10-01",
        "contract 7",
    )
    assert spec.capacity_type is CapacityType.RESERVED
    assert spec.node_selector == {"nvidia.com/gpu.product": "NVIDIA-RTX-A6000"}
    assert (spec.memory, spec.gpus_per_node) == (48 * 2**30, 4)
    where = (spec.provider, spec.region, spec.zone, spec.jurisdiction)
    assert where == ("us", "eu-1", "eu-1b", "DE")


def test_a_spot_class_is_of_spot_nodes_only() -> None:
    text = "gpu_class,price_per_gpu_hour,capacity_type,provider\nh100-spot,1.2,spot,azure\n"
    assert classes(text)["h100-spot"].spec.node_selector == {
        "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3",
        "kubernetes.azure.com/scalesetpriority": "spot",
    }


def test_what_is_owned_may_cost_nothing() -> None:
    text = "gpu_class,price_per_gpu_hour,capacity_type\nh100,0,owned\n"
    price = classes(text)["h100"].spec.price
    assert price is not None
    assert price.per_gpu_hour == 0
    assert "a price must be more than 0" in refused(text.replace("owned", "spot"))[0]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (",2", "gpu_class '': at most 63"),
        ("Big_One,2,NVIDIA-H200", "gpu_class 'Big_One': at most 63 lower-case letters"),
        (
            "new,2,X",
            "memory '': torpor does not know the memory of 'new'; write what the driver shows",
        ),
        ("new,2,X,80Gi", "gpus_per_node '': not a number of GPUs from 1 to 64"),
        ("new,2,,80Gi,8", "product '': write the value of the label"),
        ("h100,two", "price_per_gpu_hour 'two': not a price"),
        ("h100,2,,lots", "memory 'lots': 'lots' is not a number of bytes"),
        ("h100,2,,,100", "gpus_per_node '100': not a number of GPUs from 1 to 64"),
        ("h100,2,,,,euro", "currency 'euro': "),
        ("h100,2,,,,,lent", "capacity_type 'lent': "),
        ("h100,2,,,,,,Mars", "jurisdiction 'Mars': "),
        ("h100,2,,,,,,,2026-02-30", "as_of '2026-02-30': "),
        ("h100,0.0000001", "price per GPU '1E-7': less than 0.000001"),
    ],
)
def test_a_bad_cell_is_told_with_file_line_column_and_value(line: str, said: str) -> None:
    header = (
        "gpu_class,price_per_gpu_hour,product,memory,gpus_per_node,currency,capacity_type,"
        "jurisdiction,as_of\n"
    )
    (sentence,) = refused(f"{header}l4,1\n{line}\n")
    assert sentence.startswith(f"ours.csv line 3: {said}")


def test_one_class_has_one_row() -> None:
    text = "gpu_class,price_per_gpu_hour,region\nl4,1,a\nl4,2,b\n"
    assert refused(text) == [
        "ours.csv line 3: gpu_class 'l4' has a row already, on line 2; choose one with --region, "
        "or give it another name"
    ]
    spec = classes(text, Wanted("", "b", "2026-11-20"))["l4"].spec
    assert spec.region == "b"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: the header is neither that of a SkyPilot catalogue"),
        ("name,cost\nx,1\n", "line 1: the header is neither that of a SkyPilot catalogue"),
        ("gpu_class,memory\nl4,1\n", "line 1: column price_per_gpu_hour is missing"),
        ("gpu_class,price_per_gpu_hour,colour\n", "column 'colour' is not one of gpu_class"),
        ("gpu_class,price_per_gpu_hour\n", "no row is left to take"),
        ("gpu_class,price_per_gpu_hour\nl4,1,2\n", "line 2: 3 cells, the header has 2"),
        ('gpu_class,price_per_gpu_hour\nl4,"1\n', "not CSV"),
        ("AcceleratorName,Price\nL4,1\n", "line 1: column InstanceType is missing"),
    ],
)
def test_a_list_in_no_known_form_is_refused(text: str, said: str) -> None:
    (sentence,) = refused(text)
    assert said in sentence


def test_a_row_may_be_of_a_part_of_a_gpu_and_say_what_leaving_the_region_costs() -> None:
    header = "gpu_class,price_per_gpu_hour,product,resource_name,fraction,memory,gpus_per_node,region,egress_per_gib\n"
    line = "h100-1g,6.88,NVIDIA-H100-80GB-HBM3,,1/7,9856Mi,56,eu-1,0.02\n"
    spec = classes(header + line)["h100-1g"].spec
    assert (spec.fraction, spec.memory, spec.gpus_per_node) == (Fraction(1, 7), 9856 * 2**20, 56)
    assert spec.price is not None
    assert (spec.price.per_gpu_hour, spec.price.egress_per_gi_b) == (
        Decimal("6.88"),
        Decimal("0.02"),
    )


@pytest.mark.parametrize(
    ("cells", "why"),
    [
        ("8/7,9856Mi,56", "fraction '8/7': 8/7 is more than a whole"),
        ("1/7,,56", "memory '': torpor does not know"),
        ("1/7,9856Mi,", "gpus_per_node '': not a number"),
    ],
)
def test_of_a_part_its_own_memory_and_number_are_needed(cells: str, why: str) -> None:
    text = f"gpu_class,price_per_gpu_hour,fraction,memory,gpus_per_node\nh100,6.88,{cells}\n"
    assert why in "\n".join(refused(text))


def test_a_price_of_egress_that_is_none_is_told_by_its_column() -> None:
    text = "gpu_class,price_per_gpu_hour,egress_per_gib\nh100,6.88,dear\n"
    assert refused(text)[0].startswith("ours.csv line 2: egress_per_gib 'dear': ")
