"""Marks on engine pods: which one gets no new requests, so that it can go without cutting anybody off."""

from __future__ import annotations

import logging

from torpor import clock
from torpor.cluster.objects import Objects
from torpor.controller.picture import Picture
from torpor.controller.seen import Key
from torpor.domain.scalingview import ScalingSpec
from torpor.domain.shrinking import marks, spare_pod
from torpor.manifests import names

log = logging.getLogger(__name__)


async def mark_pods(objects: Objects, key: Key, spec: ScalingSpec, picture: Picture) -> None:
    """Mark the pod that is spare, and take the mark off those that are needed again.

    While a gateway does not answer nobody knows what is needed: marks stay as they are.
    """
    view, now_ms = picture.view(), clock.now_ms()
    if not view.demand.known:
        return
    for pod, spare in marks(view, spare_pod(spec, view, now_ms)):
        annotations = {
            names.SPARE_ANNOTATION: str(now_ms) if spare else None,
            names.DELETION_COST_ANNOTATION: "-1" if spare else None,
        }
        log.info("%s/%s: pod %s is %s", *key, pod.name, "spare" if spare else "needed again")
        await objects.mark_pod(key[0], pod.name, pod.uid, annotations)
