"""The controller's page in a real browser: what it shows, that it counts, that users' words stay words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dev.browser import Tab
from dev.page.endpoints import Json, by_key
from dev.page.showing import Shown, shown
from dev.page.stories import STORIES
from torpor import clock

pytestmark = pytest.mark.slow

ROWS = "document.querySelectorAll('#rows tr').length"
NASTY = (
    "</script><script>window.caught=1</script><img src=x onerror='window.caught=2'>\u202egnp.exe"
)


def lead(page: Shown) -> dict[tuple[str, str], Json]:
    page.lead()
    page.seen.endpoints.update(by_key(STORIES, clock.now_ms()))
    return page.seen.endpoints


async def look(tab: Tab, page: Shown, rows: int = len(STORIES)) -> None:
    await tab.open(page.url)
    await tab.until(f"{ROWS} === {rows}")


async def cell(tab: Tab, name: str, column: str) -> str:
    """The text of a cell as people see it."""
    rows = "[...document.querySelectorAll('#rows tr')]"
    line = f"{rows}.find((tr) => tr.querySelector('.key').textContent.endsWith('/{name}'))"
    found: str = await tab.run(f"{line}.querySelector('.{column}').innerText")
    return " ".join(found.split())


def amount(shown: str) -> float:
    return float(shown.strip("$€").replace(",", ""))


async def names(tab: Tab) -> list[str]:
    found: list[str] = await tab.run(
        "[...document.querySelectorAll('#rows .key')].map((name) => name.textContent)"
    )
    return found


async def text(tab: Tab, what: str) -> str:
    return str(await tab.run(f"document.querySelector({json.dumps(what)}).innerText"))


async def write(tab: Tab, words: str) -> None:
    """Write into the filter."""
    await tab.run(
        "(() => { const box = document.getElementById('filter');"
        f" box.value = {json.dumps(words)}; box.dispatchEvent(new Event('input')); }})()"
    )


async def test_every_endpoint_has_a_line_and_the_console_is_quiet(page: Shown, tab: Tab) -> None:
    lead(page)
    await look(tab, page)
    assert await names(tab) == sorted(f"{story.namespace}/{story.name}" for story in STORIES)
    assert "Serving" in await cell(tab, "llama-8b", "state")
    assert "3 requests in flight" in await cell(tab, "llama-8b", "state")
    assert await cell(tab, "llama-8b", "replicas") == "2/3"
    assert await cell(tab, "qwen-32b", "gpu") == "2×h100"
    assert await cell(tab, "llama-8b", "rate") == "$3.7220"
    assert "sleeps in 1 min" in await cell(tab, "bge-m3", "activity")
    assert await cell(tab, "mistral-small", "rate") == "€1.1000"
    assert "−" in await cell(tab, "flaky-canary", "saved")
    assert tab.complaints == []


async def test_money_counts_by_the_second_and_stands_still_at_zero(page: Shown, tab: Tab) -> None:
    lead(page)
    await look(tab, page)
    counting, asleep = await cell(tab, "llama-8b", "spent"), await cell(tab, "qwen-32b", "spent")
    total = await text(tab, "#totals .spent")
    await tab.until(
        "[...document.querySelectorAll('#rows tr')].some((tr) => tr.innerText.includes('llama-8b')"
        f" && !tr.querySelector('.spent').innerText.includes({json.dumps(counting)}))"
    )
    later = await cell(tab, "llama-8b", "spent")
    assert amount(later) > amount(counting)
    assert await cell(tab, "qwen-32b", "spent") == asleep
    assert await text(tab, "#totals .spent") != total
    assert tab.complaints == []


async def test_currencies_are_never_added_together(page: Shown, tab: Tab) -> None:
    endpoints = lead(page)
    await look(tab, page)
    cards = await tab.run("[...document.querySelectorAll('.total')].map((card) => card.innerText)")
    assert ["EUR" in card for card in cards] == [True, False]
    assert ["USD" in card for card in cards] == [False, True]
    rates: dict[str, float] = {}
    for obj in endpoints.values():
        cost = obj["status"]["cost"]
        if "perHour" in cost:
            rates[cost["currency"]] = rates.get(cost["currency"], 0) + float(cost["perHour"])
    shown_rates = await tab.run(
        "[...document.querySelectorAll('.total .rate')].map((a) => a.innerText)"
    )
    assert [amount(rate) for rate in shown_rates] == [
        pytest.approx(rates["EUR"]),
        pytest.approx(rates["USD"]),
    ]


async def test_an_unknown_price_is_said_and_is_in_no_sum(page: Shown, tab: Tab) -> None:
    lead(page)
    await look(tab, page)
    for column in ("rate", "spent", "saved", "tokens"):
        assert await cell(tab, "prototype", column) == "price unknown"
    assert "price of 1 endpoint is unknown" in await text(tab, "#unpriced")


async def test_nothing_that_users_write_is_taken_for_markup(page: Shown, tab: Tab) -> None:
    endpoints = lead(page)
    for obj in endpoints.values():
        obj["status"]["display"] |= {"model": NASTY, "gpu": NASTY, "replicas": NASTY}
        for condition in obj["status"]["conditions"]:
            condition |= {"message": NASTY, "reason": NASTY}
        obj["status"]["cost"]["currency"] = NASTY
    await look(tab, page)
    await tab.until("document.querySelector('#totals .amount') !== null")
    assert await tab.run("window.caught === undefined")
    assert await tab.run("document.querySelectorAll('img, script').length") == 1
    assert NASTY in await tab.run("document.querySelector('.model').textContent")
    assert tab.complaints == []


async def test_a_script_that_somebody_slipped_in_would_not_run(page: Shown, tab: Tab) -> None:
    lead(page)
    await look(tab, page)
    await tab.run(
        "(() => { const s = document.createElement('script'); s.textContent = 'window.caught = 1';"
        " document.body.append(s); })()"
    )
    assert await tab.run("window.caught === undefined")
    assert any("Content Security Policy" in said for said in tab.complaints)


async def test_the_last_day_is_told_in_words_too(page: Shown, tab: Tab) -> None:
    lead(page)
    await look(tab, page)
    labels: list[str] = await tab.run(
        "[...document.querySelectorAll('#rows svg')].map((svg) => svg.getAttribute('aria-label'))"
    )
    assert len(labels) == len(STORIES)
    assert all("last 24 hours" in label for label in labels)
    busy = next(label for label in labels if "busy" in label and "ending" in label)
    assert "of GPU time; no GPU held in" in busy


async def test_heads_sort_and_the_box_filters(page: Shown, tab: Tab) -> None:
    lead(page)
    await look(tab, page)
    await tab.run("document.querySelector('#heads .spent button').click()")
    assert (await names(tab))[0] == "research/nightly-eval"
    assert (await names(tab))[-1] == "lab/prototype"  # unknown comes last, both ways
    assert (
        await tab.run("document.querySelector('#heads .spent').getAttribute('aria-sort')")
        == "descending"
    )
    await tab.run("document.querySelector('#heads .spent button').click()")
    assert (await names(tab))[-1] == "lab/prototype"
    await write(tab, "idle shop")
    assert await names(tab) == ["shop/qwen-32b"]
    assert await text(tab, "#shown") == f"1 of {len(STORIES)} shown"


async def test_a_change_reaches_the_page_and_what_is_deleted_leaves_it(
    page: Shown, tab: Tab
) -> None:
    endpoints = lead(page)
    await look(tab, page)
    key = ("shop", "qwen-32b")
    changed = json.loads(json.dumps(endpoints[key]))
    changed["status"]["display"]["replicas"] = "1/2"
    endpoints[key] = changed
    del endpoints["lab", "prototype"]
    await tab.until(f"{ROWS} === {len(STORIES) - 1}")
    assert await cell(tab, "qwen-32b", "replicas") == "1/2"
    assert await tab.run("document.getElementById('unpriced').hidden")


async def test_without_endpoints_it_says_how_to_apply_one(page: Shown, tab: Tab) -> None:
    page.lead()
    await tab.open(page.url)
    await tab.until("!document.getElementById('nothing').hidden")
    assert "kubectl apply -f -" in await text(tab, "#nothing")
    assert await tab.run("document.getElementById('all').hidden")
    assert tab.complaints == []


async def test_a_standby_says_so_and_where_the_leader_is(page: Shown, tab: Tab) -> None:
    page.holder = "torpor-controller-7f9c-x2x8q"
    await tab.open(page.url)
    await tab.until("!document.getElementById('notice').hidden")
    said = await text(tab, "#notice")
    assert "This controller stands by" in said
    assert "port-forward pod/torpor-controller-7f9c-x2x8q" in said
    lead(page)
    await tab.until(f"{ROWS} === {len(STORIES)}")
    assert await tab.run("document.getElementById('notice').hidden")


async def test_a_standby_that_a_service_leads_to_in_between_does_not_empty_the_table(
    page: Shown, tab: Tab
) -> None:
    lead(page)
    await look(tab, page)
    page.state.leads = False
    await tab.until(
        f"told.standby > 0 && told.standby < 5 && !byId('all').hidden && {ROWS} === {len(STORIES)}"
    )
    await tab.until("!byId('notice').hidden")  # after five in a row it is believed
    page.state.leads = True
    await tab.until("byId('notice').hidden && !byId('all').hidden")


async def test_a_controller_that_is_gone_is_said_and_money_stands_still(tab: Tab) -> None:
    async with shown() as page:
        lead(page)
        await look(tab, page)
        port = int(page.url.rsplit(":", 1)[1])
    await tab.until("document.getElementById('contact').innerText.startsWith('not reached since')")
    before = await cell(tab, "llama-8b", "spent")
    await tab.run(
        "(() => { const now = Date.now; Date.now = () => now() + 60000; everySecond(); Date.now = now; })()"
    )
    assert await cell(tab, "llama-8b", "spent") == before
    async with shown(port=port) as page:
        lead(page)
        await tab.until("document.getElementById('contact').innerText === 'live'", seconds=40)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 768, 1341, 1400])
async def test_nothing_sticks_out_at_any_width(
    page: Shown, tab: Tab, width: int, scheme: str
) -> None:
    lead(page)
    await tab.show_as(width, 900, scheme)
    await look(tab, page)
    assert await tab.run("document.documentElement.scrollWidth") <= width
    cut = await tab.run(
        "[...document.querySelectorAll('#rows th, #rows td, .total')].filter((cell) =>"
        " cell.scrollWidth > cell.clientWidth + 1).map((cell) => cell.className + ': ' + cell.innerText)"
    )
    assert cut == []
    boxes = (
        "[...document.querySelectorAll('header *, main *')].map((e) => e.getBoundingClientRect())"
    )
    right = f"Math.max(...{boxes}.map((box) => box.right))"
    assert await tab.run(right) <= width - 16  # nothing reaches into the margin


async def test_a_thousand_endpoints_stay_usable(page: Shown, tab: Tab) -> None:
    page.lead()
    now = clock.now_ms()
    made: list[Any] = list(by_key(STORIES, now).values())
    for number in range(1000):
        obj = json.loads(json.dumps(made[number % len(made)]))
        obj["metadata"]["name"] = f"e{number}"
        page.seen.endpoints["many", f"e{number}"] = obj
    await tab.open(page.url)
    await tab.until(f"{ROWS} === 200", seconds=30)
    assert await text(tab, "#shown") == "200 of 1000 shown"
    await write(tab, "e99")
    assert await names(tab) == [f"many/e{number}" for number in (99, *range(990, 1000))]
    await write(tab, "")
    await tab.run("document.querySelector('#heads .rate button').click()")
    await tab.run("document.getElementById('more').click()")
    assert len(await names(tab)) == 1000
    assert await tab.run("document.getElementById('more').hidden")
    assert tab.complaints == []
