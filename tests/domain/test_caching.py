"""Who holds what on a node: what must stay, what was used when, what is garbage."""

from __future__ import annotations

from torpor.domain.caching import (
    Holding,
    Running,
    kept_on,
    labels_of,
    last_use_ms,
    used_at_all,
)
from torpor.domain.prewarmjobs import CLAIM

A, B, C, LORA = "a" * 32, "b" * 32, "c" * 32, "d" * 32
BUNDLE = "e" * 32
HELD = (Holding(A, (A,)), Holding(BUNDLE, (B, LORA), pinned=True))


def test_what_runs_on_a_node_or_is_pinned_stays_there() -> None:
    running = (Running("n1", (A,)), Running("n2", (C,)))
    assert kept_on("n1", HELD, running) == (A, B, LORA)
    assert kept_on("n2", HELD, running) == (B, C, LORA)


def test_a_pod_without_a_node_may_be_about_to_run_on_any() -> None:
    assert kept_on("n9", (), (Running(None, (A,)),)) == (A,)


def test_what_an_endpoint_or_a_pod_stands_for_is_no_garbage() -> None:
    assert used_at_all(HELD, (Running("n1", (C,)),)) == (A, B, C, LORA)


def test_a_part_that_left_takes_every_bundle_with_it() -> None:
    assert labels_of(LORA, HELD) == tuple(sorted((LORA, BUNDLE)))
    assert labels_of(A, HELD) == (A,)


def test_the_last_use_is_the_last_start_and_never_before_the_creation() -> None:
    assert last_use_ms(50, None, alive=False, now_ms=900) == 50
    assert last_use_ms(50, 400, alive=False, now_ms=900) == 400
    assert last_use_ms(50, 20, alive=False, now_ms=900) == 50
    assert last_use_ms(50, 400, alive=True, now_ms=900) == 900


def test_in_a_claim_everything_stays_that_runs_anywhere() -> None:
    running = (Running("n1", (A,)), Running("n2", (C,)))
    assert kept_on(CLAIM, (), running) == (A, C)
