"""The page over a real port: who is answered, with which headers, and what /endpoints.json tells."""

from __future__ import annotations

import gzip
import json
import logging
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import yaml

from dev.page.endpoints import by_key
from dev.page.showing import Shown, shown
from dev.page.stories import STORIES
from torpor import clock
from torpor.api.endpoint import InferenceEndpoint
from torpor.controller.page.serving import is_loopback, serve
from torpor.controller.page.sheet import make_sheet

Json = dict[str, Any]


class Asked:
    def __init__(self, page: Shown, client: httpx.AsyncClient) -> None:
        self.page = page
        self.client = client

    async def endpoints(self, **headers: str) -> httpx.Response:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.get("/endpoints.json", headers=names)

    async def told(self) -> Json:
        found: Json = (await self.endpoints()).json()
        return found


@pytest.fixture
async def asked() -> AsyncIterator[Asked]:
    async with shown() as page, httpx.AsyncClient(base_url=page.url, trust_env=False) as client:
        yield Asked(page, client)


def fill(asked: Asked) -> None:
    asked.page.lead()
    asked.page.seen.endpoints.update(by_key(STORIES, clock.now_ms()))


async def test_the_page_is_one_document_that_loads_nothing_from_elsewhere(asked: Asked) -> None:
    answer = await asked.client.get("/")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    places = re.findall(r"""(?:src|href|action)\s*=\s*["']([^"']*)""", answer.text)
    assert all(place.startswith("data:") for place in places)
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", answer.text)
    assert "/* the s" not in answer.text


@pytest.mark.parametrize("path", ["/", "/endpoints.json", "/nothing"])
async def test_every_answer_forbids_what_the_page_does_not_need(asked: Asked, path: str) -> None:
    headers = (await asked.client.get(path)).headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert "Access-Control-Allow-Origin" not in headers


def test_the_policy_allows_one_script_and_one_style_by_their_hashes() -> None:
    sheet = make_sheet()
    assert re.search(
        r"script-src 'sha256-[\w+/]{43}='; style-src 'sha256-[\w+/]{43}=';", sheet.policy
    )
    assert sheet.html.count("<script") == sheet.html.count("<style") == 1
    assert not re.search(r"\s(?:on[a-z]+|style)=", sheet.html.split("<style>")[0])


def test_the_script_never_makes_markup_out_of_text() -> None:
    forbidden = r"innerHTML|outerHTML|insertAdjacent|document\.write|DOMParser|eval\(|new Function"
    assert not re.findall(forbidden, make_sheet().html)


def test_the_endpoint_that_the_empty_page_proposes_is_valid() -> None:
    block = re.search(r"&lt;&lt;'EOF'\n(.*?)\nEOF", make_sheet().html, re.DOTALL)
    assert block
    endpoint = InferenceEndpoint.model_validate(yaml.safe_load(block[1]))
    assert endpoint.model_name == "llama-8b"


async def test_a_leader_tells_every_endpoint_in_the_order_of_their_names(asked: Asked) -> None:
    fill(asked)
    told = await asked.told()
    assert told["role"] == "leader"
    keys = [(row["namespace"], row["name"]) for row in told["endpoints"]]
    assert keys == sorted(asked.page.seen.endpoints)


async def test_a_standby_says_that_it_stands_by_and_who_leads(asked: Asked) -> None:
    asked.page.seen.endpoints.update(by_key(STORIES, clock.now_ms()))
    asked.page.holder = "torpor-controller-b"
    answer = await asked.endpoints()
    told = answer.json()
    assert (told["role"], told["leader"], told["endpoints"]) == (
        "standby",
        "torpor-controller-b",
        [],
    )
    assert told["namespace"] == "torpor-system"
    assert answer.headers["Connection"] == "close"  # the next try may meet the leader


async def test_a_leader_that_still_lists_does_not_show_half_a_cluster(asked: Asked) -> None:
    fill(asked)
    asked.page.state.listed.clear()
    told = await asked.told()
    assert (told["role"], told["endpoints"]) == ("listing", [])
    asked.page.state.listed.set()
    assert len((await asked.told())["endpoints"]) == len(STORIES)


async def test_what_has_not_changed_is_not_sent_again(asked: Asked) -> None:
    fill(asked)
    first = await asked.endpoints()
    again = await asked.endpoints(If_None_Match=first.headers["ETag"])
    assert (again.status_code, again.content) == (304, b"")
    assert abs(int(again.headers["Torpor-Now-Ms"]) - clock.now_ms()) < 60_000
    other = await asked.endpoints(If_None_Match='W/"another"')
    assert other.status_code == 200


async def test_it_is_compressed_for_those_who_can_read_that(asked: Asked) -> None:
    fill(asked)
    async with asked.client.stream("GET", "/endpoints.json") as answer:
        raw = b"".join([piece async for piece in answer.aiter_raw()])
    assert answer.headers["Content-Encoding"] == "gzip"
    plain = await asked.endpoints(Accept_Encoding="identity")
    assert "Content-Encoding" not in plain.headers
    assert gzip.decompress(raw) == plain.content
    assert len(raw) < len(plain.content) / 2


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_nothing_can_be_written(asked: Asked, method: str) -> None:
    for path in ("/", "/endpoints.json"):
        assert (await asked.client.request(method, path)).status_code == 405


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8082", 200),
        ("127.0.0.1:9999", 200),
        ("[::1]:8082", 200),
        ("LOCALHOST", 200),
        ("evil.example:8082", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example", 421),
        ("10.0.0.7:8082", 421),
        ("[::1", 421),
        ("user@localhost", 421),
        ("localhost.", 421),
        ("<b>x</b>", 421),
    ],
)
async def test_only_names_of_this_machine_are_answered(
    asked: Asked, host: str, status: int
) -> None:
    for path in ("/", "/endpoints.json"):
        answer = await asked.client.get(path, headers={"Host": host})
        assert answer.status_code == status
        if status == 421:
            assert answer.headers["Content-Type"].startswith("text/plain")
            assert "not to" in answer.text


async def test_an_exposed_page_answers_to_every_name() -> None:
    async with (
        shown(host="0.0.0.0") as page,
        httpx.AsyncClient(base_url=page.url, trust_env=False) as client,
    ):
        answer = await client.get("/", headers={"Host": "torpor.example.com"})
        assert answer.status_code == 200


@pytest.mark.parametrize(
    ("host", "own"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False), ("10.1.2.3", False)],
)  # fmt: skip
def test_which_addresses_only_the_pod_itself_reaches(host: str, own: bool) -> None:
    assert is_loopback(host) is own


async def test_a_port_that_is_taken_costs_the_page_and_not_the_controller(
    asked: Asked, caplog: pytest.LogCaptureFixture
) -> None:
    taken = int(asked.page.url.rsplit(":", 1)[1])
    async with shown() as other:
        assert other.url != asked.page.url
    with caplog.at_level(logging.WARNING):
        runner = await serve("127.0.0.1", taken, listing_of_nobody())
    assert "the page is not served" in caplog.text
    assert str(taken) in caplog.text
    await runner.cleanup()


def listing_of_nobody() -> Any:
    from torpor.controller.health import State
    from torpor.controller.page.listing import Listing

    return Listing(State(), "torpor-system", str)


async def test_the_json_is_whole_with_names_that_try_to_break_out(asked: Asked) -> None:
    fill(asked)
    key = ("shop", "llama-8b")
    nasty = '"]}</script><script>alert(1)</script>\u2028\u202e'
    asked.page.seen.endpoints[key]["status"]["display"]["model"] = nasty
    answer = await asked.endpoints()
    assert answer.headers["Content-Type"].startswith("application/json")
    told = json.loads(answer.text)
    assert [row["model"] for row in told["endpoints"] if row["name"] == "llama-8b"] == [nasty]
