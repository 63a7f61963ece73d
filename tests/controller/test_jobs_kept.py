"""A Job that has ended stays until the status that is stored says what it has found out."""

from __future__ import annotations

import asyncio

from tests.controller.stage import ENDPOINT, HASH, KEY, Stage


async def test_what_a_job_has_found_out_is_not_lost_with_a_status_that_was_not_written(
    stage: Stage,
) -> None:
    stage.apply(prewarm={"nodes": "none"})
    await stage.add_gateway()
    await stage.step()
    (check,) = stage.jobs()
    slow = stage.kube.held[f"PATCH {ENDPOINT}/status"] = asyncio.Event()
    stage.report = {"inFlight": 1}
    await stage.demand.ask()
    stage.seen.endpoints[KEY]["spec"]["scaling"] = {"suspend": True}
    await stage.reconciler.run(KEY)  # a write is under way when the Job ends
    stage.finish_job(check, hash=HASH, bytes=16_000_000, files=3)
    await stage.reconciler.run(KEY)
    assert stage.jobs() == [check]
    stage.kube.refuse[f"PATCH {ENDPOINT}/status"] = (409, "the object has been modified")
    slow.set()
    await stage.statuses.idle()
    await stage.step()
    assert stage.jobs() == [check]  # the write lost: nobody else knows what it has found
    stage.kube.refuse.clear()
    await stage.step()
    assert stage.status()["weights"]["hash"] == HASH
    for _ in range(2):
        await stage.step()
    assert stage.jobs() == []
