"""How an engine reads its weights, and whether they are read ahead of it."""

import pytest

from torpor.domain.loading import (
    GIB,
    MEMORY_MARGIN_BYTES,
    PREFETCH,
    Loading,
    Tier,
    choose_loading,
    should_warm,
    still_room,
)


def choose(
    tier: Tier = Tier.DISK,
    *,
    warm_pages: bool = False,
    memory_bytes: int | None = 512 * GIB,
    user_args: tuple[str, ...] = (),
) -> Loading:
    return choose_loading(
        tier, 15 * GIB, warm_pages=warm_pages, memory_bytes=memory_bytes, user_args=user_args
    )


@pytest.mark.parametrize(
    ("tier", "warm_pages", "memory_bytes", "args"),
    [
        (Tier.DISK, False, 512 * GIB, PREFETCH),
        (Tier.DISK, False, 16 * GIB, ()),
        (Tier.DISK, False, None, ()),
        (Tier.DISK, True, 512 * GIB, ()),
        (Tier.MEMORY, False, 512 * GIB, ()),
        (Tier.MEMORY, True, None, ()),
        (Tier.NETWORK, False, None, PREFETCH),
        (Tier.NETWORK, False, 16 * GIB, ()),
        (Tier.NETWORK, True, None, ()),
    ],
)
def test_the_loader_fits_the_tier(
    tier: Tier, warm_pages: bool, memory_bytes: int | None, args: tuple[str, ...]
) -> None:
    chosen = choose(tier, warm_pages=warm_pages, memory_bytes=memory_bytes)
    assert chosen.args == args
    assert chosen.why


@pytest.mark.parametrize(
    "theirs",
    [
        ("--load-format", "runai_streamer"),
        ("--load-format=dummy",),
        ("--load_format=dummy",),
        ("--safetensors_load_strategy", "eager"),
        ("--model-loader-extra-config={}",),
    ],
    ids=str,
)
def test_what_the_user_says_about_loading_is_left_alone(theirs: tuple[str, ...]) -> None:
    chosen = choose(Tier.NETWORK, user_args=("--seed", "1", *theirs))
    assert chosen.args == ()
    assert chosen.why.startswith("spec.engine.args has --")


def test_a_flag_that_only_begins_alike_is_not_about_loading() -> None:
    assert choose(user_args=("--load-format-x", "--safetensors")).args == PREFETCH


def test_too_little_memory_is_said_with_both_numbers() -> None:
    why = choose(memory_bytes=16 * GIB).why
    assert "15.0 GiB" in why
    assert "16.0 GiB" in why


def test_pages_are_warmed_when_weights_and_margin_fit() -> None:
    needed = 20 * GIB * 5 // 4 + MEMORY_MARGIN_BYTES
    assert should_warm(20 * GIB, needed, 64 * GIB, Tier.DISK).warm
    refused = should_warm(20 * GIB, needed - 1, 64 * GIB, Tier.DISK)
    assert not refused.warm
    assert "20.0 GiB of weights need 27.0 GiB" in refused.why
    assert "of 64.0 GiB are available" in refused.why


@pytest.mark.parametrize(("size", "tier"), [(GIB, Tier.MEMORY), (0, Tier.DISK)])
def test_nothing_is_warmed_that_is_in_memory_or_not_there(size: int, tier: Tier) -> None:
    assert not should_warm(size, 64 * GIB, 64 * GIB, tier).warm


def test_a_network_file_system_is_warmed_too() -> None:
    assert should_warm(GIB, 64 * GIB, 64 * GIB, Tier.NETWORK).warm


def test_reading_ahead_ends_where_the_margin_begins() -> None:
    assert still_room(MEMORY_MARGIN_BYTES)
    assert not still_room(MEMORY_MARGIN_BYTES - 1)
