"""A catalogue of instance shapes becomes the cheapest GPU of each kind, or sentences about what is wrong with it."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.prices.lists import classes_in, info, refusal, row, text
from torpor.api.gpuclass import CapacityType, GPUClass
from torpor.prices.program import take
from torpor.prices.skypilot import Wanted

WANTED = Wanted(cloud="aws", region="north-1", as_of="2026-11-20")


def classes(list_text: str, wanted: Wanted = WANTED) -> dict[str, GPUClass]:
    return classes_in(take(list_text, "vms.csv", wanted))


def refused(list_text: str, wanted: Wanted = WANTED) -> list[str]:
    return refusal("vms.csv", list_text, wanted)


def test_the_cheapest_shape_per_gpu_gives_the_price_and_the_largest_the_gpus_of_a_node() -> None:
    found = classes(
        text(
            row("cpu-only", price="0.1"),
            row("one", "L40S", "1", "1.80"),
            row("four", "L40S", "4", "6.00"),
            row("eight", "L40S", "8", "14.40"),
            row("elsewhere", "L40S", "1", "0.50", Region="south-1"),
        )
    )
    spec = found["l40s"].spec
    assert list(found) == ["l40s"]
    assert spec.price is not None
    assert spec.price.per_gpu_hour == Decimal("1.5")
    assert spec.price.source == "aws north-1 four, on demand, 1/4 of 6.00 (vms.csv)"
    assert spec.price.as_of == "2026-11-20"
    assert (spec.gpus_per_node, spec.memory) == (8, 46068 * 2**20)
    assert spec.node_selector == {"nvidia.com/gpu.product": "NVIDIA-L40S"}
    assert (spec.provider, spec.region) == ("aws", "north-1")
    assert spec.capacity_type is CapacityType.ON_DEMAND
    assert spec.tolerations[0].key == "nvidia.com/gpu"


@pytest.mark.parametrize(
    ("cloud", "label"),
    [
        ("aws", {"karpenter.sh/capacity-type": "spot"}),
        ("gcp", {"cloud.google.com/gke-spot": "true"}),
        ("azure", {"kubernetes.azure.com/scalesetpriority": "spot"}),
        ("other", {"torpor.dev/capacity-type": "spot"}),
    ],
)
def test_a_spot_price_is_a_class_of_its_own_that_only_spot_nodes_are_of(
    cloud: str, label: dict[str, str]
) -> None:
    found = classes(
        text(
            row("one", "H100", "1", "4.00", SpotPrice="1.60", AvailabilityZone="a"),
            row("one", "H100", "1", "4.00", SpotPrice="1.50", AvailabilityZone="b"),
        ),
        Wanted(cloud, "north-1", "2026-11-20"),
    )
    spot, firm = found["h100-spot"].spec, found["h100"].spec
    assert spot.capacity_type is CapacityType.SPOT
    assert spot.price is not None
    assert spot.price.per_gpu_hour == Decimal("1.50")
    assert spot.price.source == f"{cloud} north-1 b one, spot (vms.csv)"
    assert spot.node_selector == firm.node_selector | label


def test_a_gpu_that_torpor_does_not_know_is_taken_by_its_shape_with_the_lists_memory() -> None:
    taken = take(
        text(row("gpu.small", "RTX 6000", "2", "3.00", GpuInfo=info("RTX 6000", 2, 24576))),
        "vms.csv",
        WANTED,
    )
    (manifest,) = taken.manifests
    found = GPUClass.model_validate(manifest.body)
    assert found.name == "rtx-6000-24g"
    assert found.spec.memory == 24576 * 2**20
    assert found.spec.gpus_per_node == 2
    assert found.spec.node_selector == {"node.kubernetes.io/instance-type": "gpu.small"}
    assert "put in what the driver shows" in manifest.remark


def test_one_name_with_two_sizes_is_two_kinds() -> None:
    found = classes(
        text(
            row("small", "A100", "8", "22.00", GpuInfo=info("A100", 8, 40960)),
            row("large", "A100", "8", "28.00", GpuInfo=info("A100", 8, 81920)),
        )
    )
    assert set(found) == {"a100-40", "a100-80g"}


def test_one_kind_in_slightly_different_sizes_is_one_class() -> None:
    found = classes(
        text(
            row("a", "X1", "1", "2.00", GpuInfo=info("X1", 1, 24576)),
            row("b", "X1", "1", "1.00", GpuInfo=info("X1", 1, 24564)),
        )
    )
    assert [c.spec.memory for c in found.values()] == [24564 * 2**20]


@pytest.mark.parametrize("mib", [0, 80], ids=["nothing", "GiB under the name of MiB"])
def test_a_size_that_no_gpu_has_is_not_believed(mib: int) -> None:
    found = classes(text(row("one", "A100-80GB", "1", "1.5", GpuInfo=info("A100", 1, mib))))
    assert found["a100-80"].spec.memory == 81251 * 2**20
    (sentence,) = refused(text(row("one", "New", "1", "1.5", GpuInfo=info("New", 1, mib))))
    assert f"its GpuInfo says {mib} MiB" in sentence


def test_an_unknown_gpu_is_refused_by_name_once_with_a_way_out() -> None:
    sentences = refused(
        text(
            row("one", "L4", "1", "0.80"),
            row("trn.a", "Trainium", "1", "1.30"),
            row("trn.b", "Trainium", "8", "9.90"),
        )
    )
    assert sentences == [
        "vms.csv line 3: AcceleratorName 'Trainium': how much memory it has, or which nodes have it, is not known "
        "(its GpuInfo does not say); name the ones to take with --accelerator, or describe it in torpor's own CSV"
    ]


def test_named_ones_alone_are_looked_at() -> None:
    listed = text(row("one", "L4", "1", "0.80"), row("trn.a", "Trainium", "x", "-"))
    wanted = Wanted("aws", None, "2026-11-20", frozenset({"L4"}))
    assert list(classes(listed, wanted)) == ["l4"]


def test_a_part_of_a_gpu_is_left_out_and_counted() -> None:
    taken = take(
        text(row("part", "L4", "0.125", "0.12"), row("one", "L4", "1.0", "0.80")),
        "vms.csv",
        WANTED,
    )
    assert len(taken.manifests) == 1
    assert taken.notes == (
        "vms.csv: 1 rows with a part of a GPU are left out: torpor counts whole GPUs",
    )


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (row("one", "L4", "1", "cheap"), "line 2: Price 'cheap': not a price such as 1.861"),
        (row("one", "L4", "1", "nan"), "line 2: Price 'nan': not a price such as 1.861"),
        (row("one", "L4", "1", "-1"), "line 2: Price '-1': a price must be more than 0"),
        (row("one", "L4", "1", "1", SpotPrice="0"), "line 2: SpotPrice '0': a price must be more"),
        (row("one", "L4", "two", "1"), "line 2: AcceleratorCount 'two': not a number of GPUs"),
        (row("one", "L4", "", "1"), "line 2: AcceleratorCount '': not a number of GPUs"),
        (row("one", "L4", "65", "1"), "line 2: AcceleratorCount '65': not a number of GPUs"),
        (row("", "L4", "1", "1"), "line 2: InstanceType '': the price is of the GPU without"),
    ],
)
def test_a_bad_cell_is_told_with_file_line_column_and_value(
    bad: dict[str, str], sentence: str
) -> None:
    (said,) = refused(text(bad, row("one", "H100", "1", "4.00")))
    assert said.startswith(f"vms.csv {sentence}")


def test_every_bad_row_is_told_up_to_twenty() -> None:
    sentences = refused(text(*(row("one", "L4", "1", "x") for _ in range(50))))
    assert len(sentences) == 21
    assert sentences[-1] == "and 30 more"


def test_the_price_of_a_gpu_without_its_machine_is_taken_if_asked_for_and_says_so() -> None:
    wanted = Wanted("gcp", "north-1", "2026-11-20", gpu_only=True)
    price = classes(text(row("", "L4", "2", "0.90")), wanted)["l4"].spec.price
    assert price is not None
    assert "GPU without its machine, on demand, 1/2 of 0.90" in (price.source or "")


def test_several_regions_need_one_to_be_named() -> None:
    listed = text(*(row("one", "L4", "1", "1", Region=region) for region in ("b", "a", "")))
    assert refused(listed, Wanted("", None, "2026-11-20")) == [
        "vms.csv: GPUs in 3 regions; name one with --region: (none), a, b"
    ]
    assert refused(listed, Wanted("", "c", "2026-11-20")) == [
        "vms.csv: no GPU in region 'c'; there are (none), a, b"
    ]


def test_a_list_without_gpus_is_refused() -> None:
    assert refused(text(row("cpu", price="1"))) == ["vms.csv: no row has an accelerator"]
    nothing = refused(text(row("one", "L4", "1", "")))
    assert nothing == ["vms.csv: no row of north-1 has a whole GPU with a price"]


@given(
    st.lists(
        st.tuples(st.integers(1, 16), st.integers(1, 10**9)),
        min_size=1,
        max_size=8,
    )
)
def test_the_price_is_the_least_per_gpu_rounded_to_what_the_meter_counts(
    offers: list[tuple[int, int]],
) -> None:
    rows = [
        row(f"s{number}", "L4", str(gpus), str(Decimal(price) / 10_000))
        for number, (gpus, price) in enumerate(offers)
    ]
    price = classes(text(*rows))["l4"].spec.price
    assert price is not None
    exact = min(Decimal(price) / 10_000 / gpus for gpus, price in offers)
    assert abs(price.per_gpu_hour - exact) <= Decimal("0.0000005")
    assert price.per_gpu_hour == price.per_gpu_hour.quantize(Decimal("0.000001"))
