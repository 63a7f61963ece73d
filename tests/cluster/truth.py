"""What pods cost by their own timestamps: kept by a test beside torpor, with none of torpor's code."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from tests.cluster.apiserver import Json, Seen

PHASES = ("starting", "serving", "terminating")


@dataclass
class PodFacts:
    """The timestamps of one pod, in epoch ms; None is not reached."""

    scheduled: int | None = None
    ready: int | None = None
    deleted: int | None = None
    finished: int | None = None
    gone: bool = False

    def take(self, kind: str, pod: Json) -> None:
        """Take in one version of the pod."""
        status, metadata = pod.get("status", {}), pod["metadata"]
        true = {c["type"]: c for c in status.get("conditions", ()) if c["status"] == "True"}
        if self.scheduled is None and "PodScheduled" in true:
            self.scheduled = _ms(true["PodScheduled"]["lastTransitionTime"])
        if self.ready is None and "Ready" in true:
            self.ready = _ms(true["Ready"]["lastTransitionTime"])
        if "deletionTimestamp" in metadata:
            grace = metadata.get("deletionGracePeriodSeconds", 0)
            if (
                self.deleted is None
            ):  # the kubelet's last delete, without grace, moves the stored instant
                self.deleted = _ms(metadata["deletionTimestamp"]) - 1000 * grace
            ends = [
                c["state"]["terminated"]["finishedAt"]
                for c in (
                    *status.get("containerStatuses", ()),
                    *status.get("initContainerStatuses", ()),
                )
                if "terminated" in c["state"]
            ]
            running = any("running" in c["state"] for c in status.get("containerStatuses", ()))
            if ends and not running:
                self.finished = max(_ms(end) for end in ends)
        self.gone = kind == "DELETED"

    def bill(self) -> dict[str, int]:
        """Return the milliseconds of each phase of a pod that has ended."""
        assert None not in (self.scheduled, self.deleted, self.finished), self
        assert self.scheduled is not None
        assert self.deleted is not None
        assert self.finished is not None
        end = max(self.finished, self.scheduled)
        deleted = min(max(self.deleted, self.scheduled), end)
        ready = deleted if self.ready is None else min(self.ready, deleted)
        return {
            "starting": ready - self.scheduled,
            "serving": deleted - ready,
            "terminating": end - deleted,
        }


def facts_of(pods: Seen, endpoint: str) -> dict[str, PodFacts]:
    """Return the facts of an endpoint's engine pods by uid, from everything that was seen."""
    found: dict[str, PodFacts] = {}
    for _, kind, pod in list(pods.events):
        labels = pod["metadata"]["labels"]
        ours = labels.get("torpor.dev/endpoint") == endpoint
        if ours and labels["torpor.dev/component"] == "engine":
            found.setdefault(pod["metadata"]["uid"], PodFacts()).take(kind, pod)
    return found


def sum_of(bills: Iterable[dict[str, int]]) -> dict[str, int]:
    """Add bills up, phase by phase."""
    kept = list(bills)
    return {phase: sum(bill[phase] for bill in kept) for phase in PHASES}


def _ms(stamp: str) -> int:
    return round(datetime.fromisoformat(stamp).timestamp() * 1000)
