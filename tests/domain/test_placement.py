from __future__ import annotations

from dataclasses import replace

import pytest

from torpor.api.conditions import Reason
from torpor.domain.placement import GIB, GPUClassView, NodeView, Placement, PlacementSpec, place

GPU = "nvidia.com/gpu"


def gpu(
    name: str,
    vram: int,
    price: float | None,
    per_node: int = 8,
    where: str | None = "DE",
    region: str | None = "eu-central-1",
    capacity: str = "on-demand",
) -> GPUClassView:
    micro = None if price is None else round(price * 1_000_000)
    selector = (("gpu", name),)
    return GPUClassView(
        name, GPU, vram * GIB, per_node, selector, region, where, capacity, micro, "USD"
    )


def node(gpu_class: str, gpus: int = 8, name: str = "", schedulable: bool = True) -> NodeView:
    labels = frozenset({("gpu", gpu_class), ("kubernetes.io/os", "linux")})
    return NodeView(name or f"node-{gpu_class}", labels, ((GPU, gpus), ("pods", 110)), schedulable)


L4, L40S, H100 = gpu("l4", 24, 0.80), gpu("l40s", 48, 1.861), gpu("h100", 80, 6.88)
CLASSES = (H100, L4, L40S)
NODES = tuple(node(c.name) for c in CLASSES)
ANY = PlacementSpec()


def chosen(found: Placement) -> tuple[str, int]:
    assert found.gpu_class is not None, found.fault
    return found.gpu_class.name, found.gpus


def whys(found: Placement) -> dict[str, str]:
    return {r.gpu_class: r.why for r in found.rejected}


def gib_of_need(gib: float) -> int:
    """Size of a checkpoint that needs that much VRAM."""
    return int(gib * GIB / 1.2)


@pytest.mark.parametrize(
    ("spec", "classes", "gib", "takes"),
    [
        pytest.param(ANY, CLASSES, 0, ("l4", 1), id="size unknown: the cheapest"),
        pytest.param(ANY, CLASSES, 20, ("l4", 1), id="fits the cheapest"),
        pytest.param(ANY, CLASSES, 30, ("l4", 2), id="two cheap ones cost less than one larger"),
        pytest.param(
            ANY, (gpu("l4", 24, 1.00), L40S), 40, ("l40s", 1),
            id="one larger costs less than two small, though a small one alone is cheaper",
        ),
        pytest.param(
            ANY, (gpu("l4", 24, 0.9305), L40S), 40, ("l40s", 1), id="same price: fewer GPUs"
        ),
        pytest.param(
            ANY, (gpu("b", 24, 1), gpu("a", 24, 1)), 9, ("a", 1), id="same price and count: by name"
        ),
        pytest.param(
            ANY, (gpu("l4", 24, None), H100), 9, ("h100", 1), id="an unknown price comes last"
        ),
        pytest.param(ANY, (gpu("l4", 24, None),), 9, ("l4", 1), id="but is taken if it is all"),
        pytest.param(
            PlacementSpec(classes=("h100", "l40s")), CLASSES, 9, ("l40s", 1),
            id="of those allowed the cheapest",
        ),
        pytest.param(
            PlacementSpec(classes=("h100", "l4"), ordered=True), CLASSES, 9, ("h100", 1),
            id="ordered: as listed",
        ),
        pytest.param(
            PlacementSpec(classes=("l4", "h100"), ordered=True, gpus=1), CLASSES, 70, ("h100", 1),
            id="ordered: the next one if the first does not fit",
        ),
        pytest.param(
            PlacementSpec(ordered=True), CLASSES, 9, ("l4", 1), id="ordered with no list is by price"
        ),
        pytest.param(PlacementSpec(gpus=2), CLASSES, 9, ("l4", 2), id="as many as asked"),
        pytest.param(
            PlacementSpec(gpus=2), CLASSES, 60, ("l40s", 2), id="as many as asked, where that fits"
        ),
    ],
)  # fmt: skip
def test_the_cheapest_replica_that_fits_is_taken(
    spec: PlacementSpec, classes: tuple[GPUClassView, ...], gib: float, takes: tuple[str, int]
) -> None:
    nodes = tuple(node(c.name) for c in classes)
    assert chosen(place(spec, classes, nodes, gib_of_need(gib))) == takes


@pytest.mark.parametrize(
    ("gib", "gpus"),
    [
        pytest.param(43.1, 1, id="just within 0.90 of one"),
        pytest.param(43.3, 2, id="just above"),
        pytest.param(86.3, 2, id="just within two"),
        pytest.param(86.5, 4, id="three is no count: four"),
        pytest.param(172.9, 8, id="eight"),
    ],
)
def test_the_number_of_gpus_is_the_smallest_power_of_two_that_holds_it(
    gib: float, gpus: int
) -> None:
    assert chosen(place(ANY, (L40S,), NODES, gib_of_need(gib))) == ("l40s", gpus)


def test_the_need_is_weights_and_a_fifth_for_the_rest() -> None:
    assert place(ANY, CLASSES, NODES, 10 * GIB).need_bytes == 12 * GIB


@pytest.mark.parametrize(
    ("spec", "refused", "why"),
    [
        pytest.param(
            PlacementSpec(jurisdictions=("US", "CH")), gpu("x", 48, 1, where="DE"),
            "is in DE, allowed are US, CH", id="another country",
        ),
        pytest.param(
            PlacementSpec(jurisdictions=("EU",)), gpu("x", 48, 1, where="NO"),
            "is in NO, allowed are EU", id="Norway is not in the EU",
        ),
        pytest.param(
            PlacementSpec(jurisdictions=("DE",)), gpu("x", 48, 1, where="EU"),
            "is in EU, allowed are DE", id="somewhere in the EU may be outside Germany",
        ),
        pytest.param(
            PlacementSpec(jurisdictions=("EU",)), gpu("x", 48, 1, where="EEA"),
            "is in EEA, allowed are EU", id="somewhere in the EEA may be outside the EU",
        ),
        pytest.param(
            PlacementSpec(jurisdictions=("EU",)), gpu("x", 48, 1, where=None),
            "is in a jurisdiction it does not name, allowed are EU", id="unknown is not allowed",
        ),
        pytest.param(
            PlacementSpec(regions=("eu-west-1",)), gpu("x", 48, 1),
            "is in region eu-central-1, allowed are eu-west-1", id="another region",
        ),
        pytest.param(
            PlacementSpec(regions=("eu-west-1",)), gpu("x", 48, 1, region=None),
            "is in region unknown, allowed are eu-west-1", id="unknown region",
        ),
        pytest.param(
            PlacementSpec(capacity_types=("on-demand", "reserved")), gpu("x", 48, 1, capacity="spot"),
            "is spot, allowed are on-demand, reserved", id="capacity type",
        ),
        pytest.param(
            PlacementSpec(max_price_micro=1_860_999), gpu("x", 48, 1.861),
            "costs 1.861 per replica and hour, the limit is 1.860999", id="a micro-unit too dear",
        ),
        pytest.param(
            PlacementSpec(max_price_micro=4_000_000, gpus=4), gpu("x", 48, 1.5),
            "costs 6 per replica and hour, the limit is 4", id="too dear for all of its GPUs",
        ),
        pytest.param(
            PlacementSpec(max_price_micro=4_000_000), gpu("x", 48, None),
            "has no price, and maxPricePerHour is set", id="no price, and a limit",
        ),
    ],
)  # fmt: skip
def test_a_class_that_is_not_allowed_says_why(
    spec: PlacementSpec, refused: GPUClassView, why: str
) -> None:
    found = place(spec, (refused,), (node("x"),), 10 * GIB)
    assert found.gpu_class is None
    assert found.fault is not None
    assert found.fault.reason == Reason.NO_MATCHING_GPU
    assert found.fault.message == f"no GPU class fits: x: {why}"
    assert not found.fault.retryable


@pytest.mark.parametrize(
    ("where", "allowed"),
    [("DE", "EU"), ("DE", "EEA"), ("NO", "EEA"), ("EU", "EEA"), ("EU", "EU"), ("US", "US")],
)
def test_what_lies_within_an_allowed_jurisdiction_is_taken(where: str, allowed: str) -> None:
    spec = PlacementSpec(jurisdictions=("JP", allowed))
    assert chosen(place(spec, (gpu("x", 48, 1, where=where),), (node("x"),), GIB)) == ("x", 1)


def test_a_price_at_the_limit_is_within_it() -> None:
    spec = PlacementSpec(max_price_micro=1_861_000)
    assert chosen(place(spec, (L40S,), NODES, GIB)) == ("l40s", 1)


@pytest.mark.parametrize(
    "nodes",
    [
        pytest.param((), id="none at all"),
        pytest.param((node("h100"),), id="of another class"),
        pytest.param((node("l40s", schedulable=False),), id="cordoned"),
        pytest.param((node("l40s", gpus=1),), id="with too few GPUs"),
    ],
)
def test_a_class_without_a_node_says_which_node_it_looks_for(nodes: tuple[NodeView, ...]) -> None:
    found = place(PlacementSpec(gpus=2), (L40S,), nodes, GIB)
    assert found.fault is not None
    assert (found.fault.reason, found.fault.retryable) == (Reason.NO_NODES, True)
    assert found.fault.message == (
        "no GPU class fits: l40s: no schedulable node with gpu=l40s has 2 nvidia.com/gpu"
    )


def test_a_class_without_nodes_is_passed_over_and_listed() -> None:
    found = place(ANY, CLASSES, (node("h100"),), GIB)
    assert chosen(found) == ("h100", 1)
    assert set(whys(found)) == {"l4", "l40s"}


def test_the_nodes_of_the_choice_are_listed_by_name() -> None:
    nodes = (node("l4", name="b"), node("l4", name="a"), node("l4", gpus=0, name="c"))
    assert place(ANY, (L4,), nodes, GIB).nodes == ("a", "b")


@pytest.mark.parametrize(
    ("spec", "gpu_class", "why"),
    [
        pytest.param(ANY, L4, "needs 500.0 GiB, 8 GPUs of it give 172.8 GiB", id="auto"),
        pytest.param(
            PlacementSpec(gpus=2), L4, "needs 500.0 GiB, 2 GPUs of it give 43.2 GiB",
            id="with the number of GPUs that was asked for",
        ),
        pytest.param(
            ANY, gpu("odd", 24, 1, per_node=6), "needs 500.0 GiB, 4 GPUs of it give 86.4 GiB",
            id="six on a node: four can be used together",
        ),
    ],
)  # fmt: skip
def test_a_model_that_does_not_fit_gets_both_numbers(
    spec: PlacementSpec, gpu_class: GPUClassView, why: str
) -> None:
    found = place(spec, (gpu_class,), (node(gpu_class.name),), gib_of_need(500))
    assert found.fault is not None
    assert (found.fault.reason, found.fault.retryable) == (Reason.DOES_NOT_FIT, False)
    assert whys(found) == {gpu_class.name: why}


@pytest.mark.parametrize(
    ("spec", "gib", "nodes", "reason"),
    [
        pytest.param(ANY, 2000, NODES, Reason.DOES_NOT_FIT, id="all too small"),
        pytest.param(ANY, 500, (), Reason.NO_NODES, id="some too small, the rest without nodes"),
        pytest.param(
            PlacementSpec(max_price_micro=1), 1, NODES, Reason.NO_MATCHING_GPU, id="all too dear"
        ),
        pytest.param(
            PlacementSpec(max_price_micro=1_000_000, gpus=1), 30, NODES, Reason.NO_MATCHING_GPU,
            id="some too dear, some too small",
        ),
    ],
)  # fmt: skip
def test_the_reason_sums_up_why_no_class_was_taken(
    spec: PlacementSpec, gib: float, nodes: tuple[NodeView, ...], reason: Reason
) -> None:
    found = place(spec, CLASSES, nodes, gib_of_need(gib))
    assert found.fault is not None
    assert found.fault.reason == reason


def test_a_long_list_of_refusals_is_cut_after_four() -> None:
    many = tuple(replace(L4, name=f"c{n}") for n in range(6))
    found = place(ANY, many, (), GIB)
    assert found.fault is not None
    assert found.fault.message.endswith("; and 2 more")
    assert len(found.rejected) == 6


@pytest.mark.parametrize(
    ("classes", "have"), [(CLASSES, "h100, l4, l40s"), ((), "none")], ids=["some", "none"]
)
def test_a_class_that_does_not_exist_is_named_with_those_that_do(
    classes: tuple[GPUClassView, ...], have: str
) -> None:
    found = place(PlacementSpec(classes=("l4O", "b200")), classes, NODES, GIB)
    assert found.fault is not None
    assert (found.fault.reason, found.fault.retryable) == (Reason.GPU_CLASS_NOT_FOUND, False)
    assert found.fault.message == f"GPUClass l4O, b200 does not exist; the cluster has: {have}"


def test_a_cluster_without_classes_says_what_to_do() -> None:
    found = place(ANY, (), NODES, GIB)
    assert found.fault is not None
    assert found.fault.message.startswith("the cluster has no GPUClass; install")
