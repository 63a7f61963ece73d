"""Nodes that are paid for as a whole, out of the status and back into it."""

from __future__ import annotations

from collections.abc import Mapping

from torpor.api.status import LiveNode, NodePrice, NodeTenant
from torpor.domain.ledger import NodeStay, Price, Segment, Tenant


def stay_of(words: LiveNode, prices: Mapping[str, Price]) -> NodeStay:
    """Return a node as the ledger has it; *prices* are those of its rows by id."""
    segments = tuple(
        Segment(
            prices.get(at.price_id) or Price(at.price_id, at.price_id.partition("@")[0]), at.from_ms
        )
        for at in words.prices
    )
    tenants = tuple(
        Tenant(one.uid, one.gpus, one.start_ms, one.end_ms, bool(one.mine), bool(one.awaited))
        for one in words.tenants
    )
    return NodeStay(
        words.uid, words.name, words.gpus, words.created_ms, segments, words.removed_ms, tenants
    )


def stay_words(stay: NodeStay) -> LiveNode:
    """Return a node as the status has it."""
    return LiveNode(
        uid=stay.uid,
        name=stay.name,
        gpus=stay.gpus,
        created_ms=stay.created_ms,
        removed_ms=stay.removed_ms,
        prices=tuple(NodePrice(price_id=at.price.id, from_ms=at.from_ms) for at in stay.segments),
        tenants=tuple(
            NodeTenant(
                uid=one.uid,
                gpus=one.gpus,
                start_ms=one.start_ms,
                end_ms=one.end_ms,
                mine=True if one.mine else None,
                awaited=True if one.awaited else None,
            )
            for one in stay.tenants
        ),
    )
