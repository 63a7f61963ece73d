"""By which prices a pod is billed: those of its class, unless its node is paid for in another way."""

from __future__ import annotations

from dataclasses import replace

import pytest

from torpor.domain.catalogue import Catalogue, price_of, tariff_of
from torpor.domain.observation import PodSeen
from torpor.domain.placement import GPUClassView, NodeView

GPU = ("gpu", "l40s")
FIRM = GPUClassView(
    "l40s", "nvidia.com/gpu", 1, 8, (GPU,), "r", "DE", "on-demand", 1_861_000, "USD"
)
SPOT = replace(FIRM, name="l40s-spot", capacity_type="spot", micro_per_hour=700_000)
OWNED = replace(FIRM, name="l40s-owned", capacity_type="owned", micro_per_hour=0)
POD = PodSeen("a", "a", 1, "l40s", node="n1")
KARPENTER = "karpenter.sh/capacity-type"


def node(*labels: tuple[str, str]) -> NodeView:
    return NodeView("n1", frozenset({GPU, *labels}), ())


def billed(pod: PodSeen, node: NodeView, *classes: GPUClassView) -> str:
    tariff = Catalogue(classes, [node]).tariff(pod, None)
    assert tariff is not None
    return tariff.at(1).id


def test_on_a_node_that_says_nothing_the_class_is_believed() -> None:
    assert billed(POD, node(), FIRM, SPOT) == price_of(FIRM).id
    assert billed(replace(POD, gpu_class="l40s-spot"), node(), FIRM, SPOT) == price_of(SPOT).id


@pytest.mark.parametrize(
    "label",
    [
        (KARPENTER, "spot"),
        ("eks.amazonaws.com/capacityType", "SPOT"),
        ("cloud.google.com/gke-spot", "true"),
        ("cloud.google.com/gke-preemptible", "true"),
        ("kubernetes.azure.com/scalesetpriority", "spot"),
        ("torpor.dev/capacity-type", "spot"),
    ],
)
def test_a_pod_of_a_firm_class_on_a_spot_node_is_billed_as_spot(label: tuple[str, str]) -> None:
    assert billed(POD, node(label), FIRM, SPOT) == price_of(SPOT).id


def test_a_pod_of_a_spot_class_on_a_firm_node_is_billed_as_on_demand() -> None:
    spot = replace(POD, gpu_class="l40s-spot")
    assert billed(spot, node((KARPENTER, "on-demand")), FIRM, SPOT) == price_of(FIRM).id


def test_a_contract_is_not_written_on_a_node() -> None:
    owned = replace(POD, gpu_class="l40s-owned")
    assert billed(owned, node((KARPENTER, "on-demand")), FIRM, OWNED) == price_of(OWNED).id


@pytest.mark.parametrize(
    "other",
    [
        replace(SPOT, resource="nvidia.com/mig-1g.10gb"),
        replace(SPOT, node_selector=(("gpu", "h100"),)),
    ],
    ids=["another resource", "another node"],
)
def test_without_a_class_that_describes_the_node_the_price_is_unknown(other: GPUClassView) -> None:
    tariff = Catalogue([FIRM, other], [node((KARPENTER, "spot"))]).tariff(POD, None)
    assert tariff is not None
    price = tariff.at(1)
    assert (price.id, price.capacity_type, price.micro_per_hour) == (
        "l40s/spot@unknown",
        "spot",
        None,
    )


def test_of_several_classes_the_one_that_says_most_about_the_node_counts() -> None:
    near = replace(SPOT, name="l40s-near", node_selector=(GPU, ("zone", "a")), micro_per_hour=1)
    assert (
        billed(POD, node((KARPENTER, "spot"), ("zone", "a")), FIRM, near, SPOT) == price_of(near).id
    )


def test_once_the_node_is_gone_a_pod_stays_at_what_it_was_billed_by() -> None:
    catalogue = Catalogue([FIRM, SPOT], [])
    assert catalogue.tariff(POD, price_of(SPOT)) is None
    assert catalogue.tariff(POD, price_of(FIRM)) == tariff_of(FIRM)
    assert catalogue.tariff(POD, None) == tariff_of(FIRM)


def test_of_a_class_that_is_gone_nothing_is_known() -> None:
    assert Catalogue([], [node()]).tariff(POD, price_of(FIRM)) is None


def test_dated_prices_are_rows_of_their_own() -> None:
    dated = replace(FIRM, prices=((0, 1_000_000), (500, 1_861_000)))
    tariff = tariff_of(dated)
    assert [tariff.at(at).micro_per_hour for at in (1, 499, 500)] == [
        1_000_000,
        1_000_000,
        1_861_000,
    ]
    assert tariff.at(500) == price_of(dated)
    late = tariff_of(replace(FIRM, prices=((500, 1_861_000),)))
    assert late.at(499).micro_per_hour is None
