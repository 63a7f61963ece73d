"""The view of the cluster: listed in pages, followed, resumed, listed again when it is too old."""

from __future__ import annotations

import pytest

from tests.gateway.apiserver import ENDPOINTS
from tests.gateway.world import World


async def test_objects_that_come_change_and_go_are_followed(world: World) -> None:
    world.endpoint("a")
    await world.lists("a")
    world.endpoint("a", model={"source": "s3://models/x/", "aliases": ["a2"]})
    world.endpoint("b")
    await world.lists("a", "a2", "b")
    world.api.delete(ENDPOINTS, "shop/a")
    await world.lists("b")


async def test_a_list_of_many_pages_is_whole(world: World) -> None:
    await world.api.stop()
    for number in range(600):
        world.endpoint(f"m-{number:03}")
    world.api.oldest = world.api.version
    await world.api.start()
    await world.lists(*(f"m-{number:03}" for number in range(600)))


async def test_a_watch_that_breaks_goes_on_where_it_was(world: World) -> None:
    world.endpoint("a")
    await world.lists("a")
    lists = world.api.lists
    world.api.cut_watches()
    world.endpoint("b")
    await world.lists("a", "b")
    assert world.api.lists == lists


async def test_a_watch_that_is_too_old_lists_again_and_notices_what_is_gone(world: World) -> None:
    world.endpoint("a")
    world.endpoint("b")
    await world.lists("a", "b")
    await world.api.stop()
    world.api.delete(ENDPOINTS, "shop/a")
    world.endpoint("c")
    world.api.oldest = world.api.version
    await world.api.start()
    await world.lists("b", "c")


async def test_an_error_in_the_middle_of_a_watch_lists_again(world: World) -> None:
    world.endpoint("a")
    await world.lists("a")
    lists = world.api.lists
    expired = {"code": 410, "message": "too old resource version", "metadata": {}}
    world.api.version += 1
    world.api._tell(ENDPOINTS, "ERROR", expired)
    world.endpoint("b")
    await world.lists("a", "b")
    assert world.api.lists > lists


async def test_a_bookmark_moves_the_place_to_go_on_from(world: World) -> None:
    world.endpoint("a")
    await world.lists("a")
    world.api.version += 50
    bookmark = {"metadata": {"resourceVersion": str(world.api.version)}}
    world.api._tell(ENDPOINTS, "BOOKMARK", bookmark)
    world.endpoint("b")
    await world.lists("a", "b")
    lists, world.api.oldest = world.api.lists, world.api.version - 1
    world.api.cut_watches()
    world.endpoint("c")
    await world.lists("a", "b", "c")
    assert world.api.lists - lists <= 2  # deployments and pods had no bookmark


async def test_one_object_that_cannot_be_read_does_not_hide_the_others(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.api.put(
        ENDPOINTS, {"metadata": {"name": "odd", "namespace": "shop"}, "spec": {"model": 5}}
    )
    world.api.put(ENDPOINTS, {"metadata": {"name": "odd2", "namespace": "shop"}, "status": 7})
    world.endpoint("a")
    await world.lists("a")
    assert "shop/odd2" in caplog.text
