"""The bare Deployment of the cold-start benchmark has torpor's pod, and torpor does not know it."""

from bench.coldstart import bare_deployment, figures_of

TEMPLATE = {
    "metadata": {
        "labels": {"app.kubernetes.io/part-of": "torpor", "torpor.dev/component": "engine"},
        "annotations": {"torpor.dev/weights": "0"},
    },
    "spec": {"initContainers": [{"name": "weights"}], "containers": [{"name": "engine"}]},
}


def test_the_same_pod_has_none_of_the_labels_that_torpor_selects_by() -> None:
    made = bare_deployment(TEMPLATE, "bare", "here", init=True)
    assert made["spec"]["replicas"] == 0
    assert made["spec"]["template"]["spec"] == TEMPLATE["spec"]
    metadata = made["spec"]["template"]["metadata"]
    assert metadata == {"labels": made["spec"]["selector"]["matchLabels"]}
    assert not [name for name in metadata["labels"] if "torpor.dev/" in name or "part-of" in name]


def test_the_lean_pod_lacks_its_init_containers_and_nothing_else() -> None:
    made = bare_deployment(TEMPLATE, "lean", "here", init=False)
    assert made["spec"]["template"]["spec"] == {"containers": [{"name": "engine"}]}


def test_the_cost_of_torpor_is_the_difference_of_the_medians_and_has_the_bar() -> None:
    taken = {"bare": [1.2, 1.4, 9.0], "bare-lean": [1.0, 1.0, 1.0], "torpor": [1.5, 1.5, 1.5]}
    figures = {figure.name.strip(): figure for figure in figures_of(taken)}
    cost = figures["torpor costs over the same pod"]
    assert abs(cost.value - 0.1) < 1e-9
    assert cost.bar == 0.15
    assert cost.holds
    assert figures["quickest: bare, same pod"].value == 1.2
