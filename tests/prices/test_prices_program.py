"""`torpor prices import` as it is called: all manifests or none, and never half a file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from tests.prices.lists import info, row, text
from torpor.__main__ import main
from torpor.api.gpuclass import GPUClass

GOOD = text(
    row("one", "H100", "1", "4.00", SpotPrice="1.50"),
    row("one", "RTX6000", "1", "0.50", GpuInfo=info("RTX6000", 1, 24576)),
)


@pytest.fixture
def listing(tmp_path: Path) -> Path:
    path = tmp_path / "vms.csv"
    path.write_text(GOOD)
    os.utime(path, (1_795_000_000, 1_795_000_000))
    return path


def test_what_is_printed_are_classes_that_the_cluster_takes(
    listing: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["prices", "import", str(listing), "--cloud", "aws"]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    documents = list(yaml.safe_load_all(told.out))
    found = [GPUClass.model_validate(document) for document in documents]
    assert [c.name for c in found] == ["h100", "h100-spot", "rtx6000-24g"]
    for gpu_class in found:
        assert gpu_class.spec.price is not None
        assert gpu_class.spec.price.as_of == "2026-11-18", "the day on which the file was written"
    assert "# memory is the list's; put in what the driver shows, which is less" in told.out


def test_a_day_can_be_given(listing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prices", "import", str(listing), "--as-of", "2026-11-01"]) == 0
    assert "asOf: '2026-11-01'" in capsys.readouterr().out


def test_a_file_is_written_when_all_is_well(
    listing: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "classes.yaml"
    assert main(["prices", "import", str(listing), "--output", str(out)]) == 0
    assert capsys.readouterr().out == ""
    assert len(list(yaml.safe_load_all(out.read_text()))) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["classes.yaml", "vms.csv"]


def test_one_bad_row_leaves_what_was_there(
    listing: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listing.write_text(GOOD + "one,8,32,L4,1,,free,,north-1,\n")
    out = tmp_path / "classes.yaml"
    out.write_text("before")
    assert main(["prices", "import", str(listing), "--output", str(out)]) == 1
    assert main(["prices", "import", str(listing)]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert "torpor prices: vms.csv line 4: Price 'free': not a price such as 1.861" in told.err
    assert "nothing was written" in told.err
    assert out.read_text() == "before"


def test_a_folder_that_is_not_there_is_told(
    listing: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "none" / "classes.yaml"
    assert main(["prices", "import", str(listing), "--output", str(out)]) == 1
    assert "classes.yaml cannot be written" in capsys.readouterr().err


def test_a_list_that_is_not_there_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["prices", "import", str(tmp_path / "none.csv")]) == 1
    assert "none.csv cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [[], ["export"], ["import"], ["import", "x.csv", "--as-of", "today"]]
)
def test_a_wrong_call_is_status_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["prices", *words])
    assert ended.value.code == 2
    assert "usage: torpor prices" in capsys.readouterr().err
