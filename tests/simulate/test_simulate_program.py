"""`torpor simulate` as it is called."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from torpor.__main__ import main
from torpor.domain.keepalive import Bounds
from torpor.simulate.hindsight import fixed_points
from torpor.simulate.plot import CannotPlot, draw
from torpor.simulate.policies import Adaptive, Fixed, policy_named
from torpor.simulate.replay import clairvoyant, replay
from torpor.simulate.table import Row, Study
from torpor.simulate.traffic import Trace, endpoint_of

HAS_MATPLOTLIB = importlib.util.find_spec("matplotlib") is not None


@pytest.fixture
def trace(tmp_path: Path) -> str:
    rows = [f"chat,{k * 20_000 + j * 25},5" for k in range(20) for j in range(8)]
    path = tmp_path / "ours.csv"
    path.write_text("\n".join(["endpoint,arrival_s,service_s", *rows]) + "\n")
    return str(path)


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    code = main(["simulate", *argv])
    told = capsys.readouterr()
    return code, told.out, told.err


def test_a_table_holds_each_policy_the_best_fixed_one_and_the_bound(
    trace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(
        capsys, "--trace", trace, "--policy", "adaptive:balanced", "--policy", "fixed:300",
        "--cold-start", "60", "--price", "1.861",
    )  # fmt: skip
    assert (code, err) == (0, "")
    heading, _, columns, adaptive, fixed, bound = out.splitlines()
    assert heading == (
        "ours.csv: 1 endpoints, 160 requests, 105.6 h; cold start 60 s, 1.861 per GPU and hour; "
        "always on: 380180 GPU-seconds, 196.53"
    )
    assert columns.split("  ")[0] == "policy"
    assert adaptive.startswith("adaptive:balanced  ")
    assert "GPU-seconds, here " in adaptive
    assert fixed.startswith("fixed:300  ")
    assert fixed.endswith("  -")
    assert bound.startswith("clairvoyant  ")


def test_json_says_the_same(trace: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(
        capsys, "--trace", trace, "--policy", "fixed:0", "--json", "--cold-start", "15"
    )
    found: dict[str, Any] = json.loads(out)
    assert (code, found["trace"], found["requests"]) == (0, "ours.csv", 160)
    (fixed,) = found["policies"]
    assert fixed["policy"] == "fixed:0"
    assert fixed["delayedShare"] == 1.0
    assert fixed["gpuSeconds"] == 160 * 20
    assert fixed["cost"] == pytest.approx(160 * 20 * 1.861 / 3600, abs=1e-6)
    assert found["clairvoyant"]["gpuSeconds"] == 160 * 5 + 20 * 15 + 20 * 7 * 15


def test_without_a_policy_the_profiles_are_shown(
    trace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = run(capsys, "--trace", trace)
    for name in ("economy", "balanced", "responsive", "interactive"):
        assert f"\nadaptive:{name} " in out


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--policy", "lru"], "'lru' is not a policy: write adaptive:PROFILE (economy, balanced"),
        (["--policy", "fixed"], "'fixed' is not a policy"),
        (["--policy", "fixed:-1"], "'fixed:-1' is not a policy"),
        (["--policy", "adaptive:inf"], "'adaptive:inf' is not a policy"),
        (["--cold-start", "0"], "argument --cold-start: '0' is not above 0"),
        (["--price", "dear"], "argument --price: 'dear' is not a number of at least 0"),
        (["--min", "60", "--max", "15"], "--min 60 is more than --max 15"),
    ],
)
def test_a_wrong_call_is_explained(
    trace: str, argv: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["simulate", "--trace", trace, *argv])
    assert caught.value.code == 2
    assert sentence in capsys.readouterr().err


def test_a_wrong_trace_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.csv"
    path.write_text("endpoint,arrival_s\na,later\n")
    assert run(capsys, "--trace", str(path)) == (
        1,
        "",
        "torpor simulate: bad.csv line 2: arrival_s 'later': expected a number of at least 0\n",
    )


@pytest.mark.skipif(HAS_MATPLOTLIB, reason="matplotlib is installed")
def test_a_picture_without_matplotlib_says_what_to_install(
    trace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, "--trace", trace, "--plot", str(tmp_path / "out.png"))
    assert (code, out) == (1, "")
    assert "--plot needs matplotlib, which is not installed: pip install matplotlib" in err


@pytest.mark.skipif(not HAS_MATPLOTLIB, reason="matplotlib is not installed")
def test_a_picture_is_written(
    trace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "out.png"
    assert run(capsys, "--trace", trace, "--plot", str(path))[0] == 0
    assert path.read_bytes().startswith(b"\x89PNG")


class Paper:
    """Stands where matplotlib's figure and axes do, and remembers what is drawn."""

    def __init__(self) -> None:
        self.drawn = list[tuple[str, Any]]()
        self.yaxis = self

    def plot(self, x: Any, y: Any, *_: Any, label: str, **__: Any) -> None:
        self.drawn.append((label, (x, y)))

    def axhline(self, y: float, *, label: str, **_: Any) -> None:
        self.drawn.append((label, y))

    def set(self, **words: Any) -> None:
        self.drawn.append(("axes", words))

    def set_major_formatter(self, form: str) -> None:
        self.drawn.append(("numbers", form))

    set_minor_formatter = set_major_formatter

    def legend(self) -> None:
        """Nothing to remember."""

    def savefig(self, path: Path) -> None:
        path.write_bytes(b"drawn")


def test_a_picture_shows_the_curve_of_fixed_ones_the_policies_and_the_bound(tmp_path: Path) -> None:
    endpoint = endpoint_of("e", [(k * 400.0, 5.0) for k in range(30)])
    trace = Trace("t", 20_000.0, (endpoint,))
    fixed, outcome = fixed_points(trace, 60.0), replay(trace, Fixed(100.0), 60.0)
    study = Study(trace, 60.0, 1.0, (Row(outcome),), clairvoyant(trace, 60.0))
    paper, path = Paper(), tmp_path / "out.png"
    draw(study, fixed, path, (paper, paper))
    assert path.read_bytes() == b"drawn"
    drawn = dict(paper.drawn)
    assert len(drawn["every fixed time-out"][0]) == len(fixed)
    assert drawn["fixed:100"] == (100.0, 100 * outcome.gpu_s / 20_000)
    assert "clairvoyant, no waits" in drawn
    with pytest.raises(CannotPlot, match="cannot be written"):
        draw(study, fixed, tmp_path / "none" / "out.png", (paper, paper))


def test_policies_are_named_as_they_are_written() -> None:
    bounds = Bounds(1.0, 2.0)
    assert policy_named("adaptive", bounds) == Adaptive(5.0, "balanced", bounds)
    assert policy_named("adaptive:7", bounds).name == "adaptive:7"
    assert policy_named("fixed:300", bounds) == Fixed(300.0)
