"""The reader of PromQL refuses what would only silently show nothing."""

from __future__ import annotations

import pytest

from tests.metrics.filled import shown
from tests.metrics.promql import Wrong, labels_of

COST = "torpor_endpoint_cost_total"


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("torpor_endpoint_replicas", {"namespace", "model_name", "endpoint"}),
        (f"sum by (currency) (rate({COST}[5m]))", {"currency"}),
        (f"sum without (currency) ({COST}) * 3600", {"namespace", "model_name", "endpoint"}),
        (
            "histogram_quantile(0.95, sum by (endpoint, le)"
            " (rate(torpor_gateway_wait_seconds_bucket[$__rate_interval])))",
            {"endpoint"},
        ),
        (
            "sum by (endpoint, key) (torpor_gateway_tokens_total)"
            f" * on (endpoint) group_left (currency) sum by (endpoint, currency) ({COST})",
            {"endpoint", "key", "currency"},
        ),
        ("torpor_endpoint_replicas - torpor_endpoint_replicas_ready > 0",
         {"namespace", "model_name", "endpoint"}),
    ],
)  # fmt: skip
def test_what_is_exposed_can_be_asked_for(text: str, labels: set[str]) -> None:
    assert labels_of(text, shown()) == frozenset(labels)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("torpor_endpoint_costs_total", "no program exposes torpor_endpoint_costs_total"),
        ('torpor_endpoint_replicas{pod="x"}', "no label pod"),
        (f"sum by (key) ({COST})", "no label key"),
        ("rate(torpor_endpoint_saved[5m])", "which is a gauge"),
        ("torpor_endpoint_replicas_bucket", "no program exposes"),
        (f"torpor_endpoint_replicas * {COST}", "never matches"),
        (f"torpor_endpoint_replicas * on (currency) group_left {COST}", "no label currency"),
    ],
)
def test_what_is_not_exposed_is_refused_by_name(text: str, complaint: str) -> None:
    with pytest.raises(Wrong, match=complaint):
        labels_of(text, shown())


def test_what_is_no_promql_is_refused() -> None:
    with pytest.raises(ValueError, match="parenthesis"):
        labels_of("sum by (torpor_endpoint_replicas", shown())
