"""`torpor report` as it is called: from a file, from standard input, from an API server, and wrongly."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.cluster_room.kubeapi import KubeApi
from tests.report.samples import MADE, cluster
from tests.report.world import HOUR, endpoint, pod, written
from torpor.__main__ import main

T = TypeVar("T")
ENDPOINTS = "/apis/torpor.dev/v1alpha1/namespaces/{}/inferenceendpoints/{}"


@pytest.fixture
def listing(tmp_path: Path) -> Path:
    """What `kubectl get ie -A -o json` writes."""
    path = tmp_path / "ie.json"
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": cluster()}))
    return path


def test_a_file_of_kubectl_becomes_a_table(
    listing: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "--month", "2026-11", "--file", str(listing)]) == 0
    told = capsys.readouterr()
    assert "llama-8b" in told.out
    assert "Total USD: " in told.out
    assert told.err == ""


def test_standard_input_is_read_as_a_file(
    listing: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(listing.read_text()))
    assert main(["report", "--month", "2026-11", "--file", "-", "--json"]) == 0
    names = [row["endpoint"] for row in json.loads(capsys.readouterr().out)["endpoints"]]
    assert len(names) == 4


def test_one_namespace_alone_can_be_asked_for(
    listing: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["report", "--month", "2026-11", "--file", str(listing), "-n", "customers", "--csv"]
    assert main(words) == 0
    found = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["namespace"] for row in found] == ["customers"]


def test_csv_and_focus_say_beside_them_what_has_no_room_in_them(
    listing: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["report", "--month", "2026-11", "--file", str(listing)]
    assert main([*words, "--focus", "--account", "acme"]) == 0
    told = capsys.readouterr()
    assert {row["BillingAccountId"] for row in csv.DictReader(io.StringIO(told.out))} == {"acme"}
    assert "16 GPU-hours of unknown cost have no row" in told.err
    assert main([*words, "--csv"]) == 0
    assert "GPUClass b200 has, or had, no price" in capsys.readouterr().err


def test_one_endpoint_alone_is_a_list_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "one.json"
    path.write_text(json.dumps(cluster()[0]))
    assert main(["report", "--month", "2026-11", "--file", str(path)]) == 0
    assert "llama-8b" in capsys.readouterr().out


def test_an_endpoint_that_cannot_be_read_makes_it_fail_and_the_others_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = json.loads(json.dumps(cluster()[0]))
    bad["metadata"]["name"] = "bad"
    bad["status"]["cost"]["hours"] = "none"
    path = tmp_path / "ie.json"
    path.write_text(json.dumps({"items": [bad, *cluster()]}))
    assert main(["report", "--month", "2026-11", "--file", str(path)]) == 1
    told = capsys.readouterr()
    assert "llama-8b" in told.out
    assert "team-a/bad is left out: cost.hours" in told.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not JSON"),
        ("[]", "holds no list of objects"),
        ('{"items": 7}', "holds no list of objects"),
        ('{"items": [{"kind": "Pod"}]}', "object 1 is Pod, not InferenceEndpoint"),
        ('{"items": ["x"]}', "object 1 is no object of Kubernetes, not InferenceEndpoint"),
    ],
)
def test_a_file_of_something_else_is_refused_with_the_command_that_makes_it(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "ie.json"
    path.write_text(text)
    assert main(["report", "--file", str(path)]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert said in told.err
    assert "kubectl get ie -A -o json" in told.err


def test_a_file_that_is_not_there_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "--file", str(tmp_path / "none.json")]) == 1
    assert "none.json cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--month", "november"], "'november' is not a month such as 2026-11"),
        (["--csv", "--json"], "not allowed with argument"),
        (["--what"], "unrecognized arguments"),
    ],
)
def test_a_wrong_call_is_status_2(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["report", *words])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_a_month_to_come_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--month", "9998-01"]) == 1
    assert "9998-01 has not begun" in capsys.readouterr().err


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[KubeApi, str]]:
    """A small API server in a thread of its own, since the command runs a loop of its own, and its kubeconfig."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none"))
    kube, loop = KubeApi(), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def run(job: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(job, loop).result(10)

    run(kube.start())
    client = run(kube.client(tmp_path))
    run(client.close())
    yield kube, str(tmp_path / "kubeconfig")
    run(kube.stop())
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_the_cluster_is_asked_through_its_kubeconfig_page_by_page(
    server: tuple[KubeApi, str], capsys: pytest.CaptureFixture[str]
) -> None:
    kube, kubeconfig = server
    passes = [MADE + 2 * HOUR, MADE + 3 * HOUR]
    cost, tokens = written([pod("p", MADE + HOUR, 9_000, 60_000)], MADE, passes)
    words = ["report", "--kubeconfig", kubeconfig, "--month", "2026-11", "--json"]
    for number in range(300):
        obj = endpoint(f"e{number}", cost, tokens, metadata={"namespace": f"n{number % 2}"})
        kube.put(ENDPOINTS.format(f"n{number % 2}", f"e{number}"), obj)
    assert main(words) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["totals"] == [
        {
            "currency": "USD",
            "spent": "9.305",
            "endpoints": 300,
            "endpoints_of_unknown_cost": 0,
        }
    ]
    assert len(kube.asked) == 2
    assert main([*words, "--namespace", "n1"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {row["namespace"] for row in document["endpoints"]} == {"n1"}
    assert kube.asked[-1].path == "/apis/torpor.dev/v1alpha1/namespaces/n1/inferenceendpoints"


def test_a_refusal_of_the_api_server_is_told_in_its_words(
    server: tuple[KubeApi, str], capsys: pytest.CaptureFixture[str]
) -> None:
    kube, kubeconfig = server
    path = "/apis/torpor.dev/v1alpha1/inferenceendpoints"
    kube.refuse[f"GET {path}"] = (403, "inferenceendpoints is forbidden: no such right")
    assert main(["report", "--kubeconfig", kubeconfig]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert f"refused GET {path}: inferenceendpoints is forbidden: no such right" in told.err


def test_no_cluster_to_ask_says_how_to_name_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "--kubeconfig", str(tmp_path / "none")]) == 1
    told = capsys.readouterr()
    assert "no cluster to ask" in told.err
    assert "--file" in told.err


def test_an_api_server_that_is_gone_is_said_to_be(
    tmp_path: Path, server: tuple[KubeApi, str], capsys: pytest.CaptureFixture[str]
) -> None:
    kube, kubeconfig = server
    path = tmp_path / "other"
    path.write_text(Path(kubeconfig).read_text().replace(f":{kube.port}", ":1"))
    assert main(["report", "--kubeconfig", str(path)]) == 1
    assert "the API server cannot be reached" in capsys.readouterr().err
