"""A budget on the real cluster: it is spent, what runs answers to its end, and then OpenAI's client is told so."""

import openai
import pytest

from tests.cluster.apiserver import ENDPOINTS, until
from tests.cluster.space import Space

pytestmark = pytest.mark.cluster

SPEC = {
    "cost": {
        "budget": {"monthly": "0.000001", "action": "refuseWake"},
        "compareWith": {"name": "hosted", "inputPerMillion": "0.15", "outputPerMillion": "0.60"},
    }
}


def test_a_spent_budget_refuses_the_next_wake_until_it_is_raised(space: Space) -> None:
    fresh = space.start("thrifty", keep_alive="10m", spec=SPEC)
    within = fresh.status.condition("WithinBudget")
    assert within is not None
    assert (within.status, within.reason) == ("True", "WithinBudget")
    assert space.chat("thrifty").status == 200  # the first wake spends it all

    space.wait_condition("thrifty", "WithinBudget", "False", "OverBudget")
    slept = space.wait_condition("thrifty", "Ready", "False", "OverBudget", timeout=90)
    assert slept.status.cost.budget is not None
    assert slept.status.cost.budget.percent is not None
    assert slept.status.cost.budget.percent >= 100
    assert slept.status.cost.comparison is not None
    assert slept.status.cost.comparison.tokens > 0

    client = openai.OpenAI(base_url=space.torpor.url, api_key="none", max_retries=2)
    with pytest.raises(openai.RateLimitError) as refused:
        client.chat.completions.create(
            model=f"{space.name}/thrifty", messages=[{"role": "user", "content": "hello"}]
        )
    assert refused.value.code == "insufficient_quota"
    assert "spent since" in refused.value.message
    assert space.replicas("thrifty") == 0

    raised = {"spec": {"cost": {"budget": {"monthly": "500"}}}}
    space.api.patch(space.path(ENDPOINTS, "thrifty"), raised)
    space.wait_condition("thrifty", "Ready", "True")
    assert space.chat("thrifty").status == 200
    reasons = until("its Events", lambda: _events(space) or None, timeout=10)
    assert {"OverBudget", "WithinBudget"} <= reasons


def _events(space: Space) -> set[str]:
    found = space.api.items(f"/api/v1/namespaces/{space.name}/events")
    mine = [event for event in found if event["involvedObject"]["name"] == "thrifty"]
    reasons = {event["reason"] for event in mine}
    return reasons if "WithinBudget" in reasons else set()
