"""`torpor simulate --from ie/NAME`: other policies, over the gaps that an endpoint remembers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from torpor.__main__ import main
from torpor.domain.keepalive import Learned, learn
from torpor.domain.prewake import Price
from torpor.domain.recalling import encode

Json = dict[str, Any]
PRICE = "l40s/on-demand@1861000USD"


def endpoint(gaps: list[float], *, cold_s: float = 30, priced: bool = True) -> Json:
    learned = Learned(cold_s=cold_s)
    for gap in gaps:
        learned = learn(learned, gap, 12, Price(cold_s, 5))
    row = {"priceId": PRICE, "gpuClass": "l40s", "currency": "USD"}
    return {
        "apiVersion": "torpor.dev/v1alpha1",
        "kind": "InferenceEndpoint",
        "metadata": {"name": "chat", "namespace": "team-a"},
        "spec": {"model": {"source": "s3://models/chat/"}},
        "status": {
            "keepAlive": {"seconds": 120, "learned": encode(learned)},
            "placement": {"class": "l40s", "gpus": 2, "priceId": PRICE},
            "cost": {"rows": [row | ({"perGPUHour": "1.8"} if priced else {})]},
        },
    }


def run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, obj: Json, *more: str
) -> tuple[int, str, str]:
    path = tmp_path / "ie.json"
    path.write_text(json.dumps(obj))
    code = main(["simulate", "--from", "ie/chat", "-n", "team-a", "--file", str(path), *more])
    told = capsys.readouterr()
    return code, told.out, told.err


def test_each_policy_is_weighed_by_the_gaps_that_are_remembered(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, out, err = run(capsys, tmp_path, endpoint([40.0] * 150 + [4000.0] * 50), "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    policies = {policy["policy"]: policy for policy in told["policies"]}
    seconds = {
        "as it is": 120, "fixed:60": 60, "fixed:300": 300, "fixed:1800": 1800,
    }  # fmt: skip
    assert {name: policies[name]["keepSeconds"] for name in seconds} == seconds
    long = policies["fixed:300"]["delayedShare"]
    assert 0.2 < long < 0.4  # the newer gaps, which were the long ones, weigh more
    short_gap = 40.27  # the middle of the bin of 40 s
    expected = (1 - long) * short_gap + long * (300 + 30)
    assert policies["fixed:300"]["gpuSecondsPerGap"] == pytest.approx(expected, rel=0.03)
    assert policies["fixed:300"]["waitMeanSeconds"] == pytest.approx(long * 30, abs=0.01)
    cycles = 86_400 / told["meanGapSeconds"]
    day = policies["fixed:300"]["gpuSecondsPerGap"] * cycles * 2 * 1.8 / 3600
    assert policies["fixed:300"]["costPerDay"] == pytest.approx(day, rel=0.001)
    adaptive = [policies[f"adaptive:{p}"] for p in ("economy", "balanced", "responsive")]
    waits = [policy["waitMeanSeconds"] for policy in adaptive]
    assert waits == sorted(waits, reverse=True)


def test_the_table_begins_with_what_is(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, _ = run(capsys, tmp_path, endpoint([40.0] * 10))
    heading, _, columns, now, *others = out.splitlines()
    assert code == 0
    assert heading == "team-a/chat: 10 gaps remembered, 40 s on average; a start takes 30.0 s"
    assert columns.split()[0] == "policy"
    assert now.split()[:5] == ["as", "it", "is", "120", "s"]
    assert now.endswith("USD")
    assert len(others) == 7


def test_without_a_price_the_seconds_are_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, out, _ = run(capsys, tmp_path, endpoint([40.0] * 10, priced=False))
    assert code == 0
    assert all(line.endswith(" -") for line in out.splitlines()[3:])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"status": {}}, "has not been asked twice yet"),
        ({"metadata": {"name": "other", "namespace": "team-a"}}, "no InferenceEndpoint chat in"),
        ({"spec": {}}, "team-a/chat cannot be read: spec.model"),
    ],
)
def test_what_cannot_be_studied_is_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, change: Json, said: str
) -> None:
    code, out, err = run(capsys, tmp_path, endpoint([40.0] * 10) | change)
    assert (code, out) == (1, "")
    assert said in err


def test_either_a_trace_or_an_endpoint(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["simulate"])
    assert ended.value.code == 2
    assert "--trace --from" in capsys.readouterr().err
