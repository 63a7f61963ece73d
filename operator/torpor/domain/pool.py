"""The pods of one endpoint, as one gateway's waiting room knows them: which serve, and which gets the next request."""

from __future__ import annotations

from collections.abc import Iterable

from torpor.domain.routing import emptiest, nearest, score, seed_of
from torpor.domain.waitroom import Glance, Pod, PodFacts, Probe, Request

GLANCE_SECONDS = (0.25, 30.0)
"""First and last pause between looks at a pod that could not be reached while nobody waits; doubling. A restart of its
network is noticed within a second; a pod that stays dead costs two connections a minute."""


class Pool:
    """Pods by uid; changed only by its methods, so that who is usable need not be found out for each request."""

    def __init__(self, salt: int) -> None:
        """Start without pods; *salt* is another number at each gateway.

        Of pods with equally few requests the first gets the next one, and each gateway has its own order: else all of
        them would send their only request to the same pod.
        """
        self.pods: dict[str, Pod] = {}
        self._salt = salt
        self._usable: list[Pod] = []
        self._spare: list[Pod] = []
        """Usable pods that go when their requests have ended."""

    @property
    def serving(self) -> bool:
        """Return whether a pod is known to answer, with room or without."""
        return bool(self._usable or self._spare)

    def choose(self, request: Request, limit: int) -> Pod | None:
        """Return the pod for a request, with fewer than *limit* in flight; a spare one only if no other has room."""
        usable = self._usable
        if request.prefix is None or len(usable) < 2:
            pod = emptiest(usable, limit)
        else:
            pod = nearest(request.prefix, usable, limit)
        return pod if pod is not None or not self._spare else emptiest(self._spare, limit)

    def told(self, seen: Iterable[PodFacts]) -> None:
        """Take in all pods there are.

        The kubelet's verdict counts when it changes, for it is slower than a probe: a pod that a probe found
        answering is not doubted because the kubelet has not noticed yet.
        """
        facts_by_uid = {facts.uid: facts for facts in seen}
        for uid, facts in facts_by_uid.items():
            pod = self.pods.get(uid)
            if pod is None:
                self.pods[uid] = Pod(facts, serving=facts.ready, seed=seed_of(uid))
                continue
            if facts.verdict != pod.facts.verdict:
                pod.serving, pod.aside = facts.ready, False
            pod.facts = facts
        for uid in self.pods.keys() - facts_by_uid.keys():
            del self.pods[uid]
        self._sort()

    def set_aside(self, pod: Pod) -> None:
        """Send nothing more to a pod that could not be reached, until it was found answering."""
        if pod.serving:
            pod.serving, pod.aside, pod.pause = False, True, GLANCE_SECONDS[0]
            self._sort()

    def probed(self, uid: str, answered: bool) -> None:
        """Take in that probing a pod ended."""
        if (pod := self.pods.get(uid)) is not None:
            pod.probing = False
            self._answered(pod, answered)

    def glanced(self, uid: str, answered: bool) -> None:
        """Take in what a look at a pod that was set aside has shown; the next one is due later."""
        if (pod := self.pods.get(uid)) is not None:
            pod.glancing = False
            pod.pause = min(2 * pod.pause, GLANCE_SECONDS[1])
            self._answered(pod, answered)

    def wants_glance(self, uid: str) -> bool:
        """Return whether to look at this pod is still of use."""
        pod = self.pods.get(uid)
        return pod is not None and pod.candidate and pod.aside and not pod.serving

    def probes(self) -> list[Probe]:
        """Return whom to ask, while somebody waits, until they answer: those that may never have served, too."""
        idle = [uid for uid, pod in self._silent() if not pod.probing]
        for uid in idle:
            self.pods[uid].probing = True
        return [Probe(uid) for uid in idle]

    def glances(self) -> list[Glance]:
        """Return whom to look at once, while nobody waits: those that were set aside."""
        due = [pod for _, pod in self._silent() if pod.aside and not (pod.glancing or pod.probing)]
        for pod in due:
            pod.glancing = True
        return [Glance(pod.facts.uid, pod.pause) for pod in due]

    def _silent(self) -> list[tuple[str, Pod]]:
        """Return the pods that requests might be sent to if they were known to answer."""
        if len(self._usable) + len(self._spare) == len(self.pods):
            return []
        return [(u, pod) for u, pod in self.pods.items() if pod.candidate and not pod.serving]

    def _answered(self, pod: Pod, answered: bool) -> None:
        if answered and not pod.serving:
            pod.serving, pod.aside = True, False
            self._sort()

    def _sort(self) -> None:
        usable = [pod for pod in self.pods.values() if pod.usable]
        usable.sort(key=lambda pod: score(self._salt, pod.seed))
        self._usable = [pod for pod in usable if not pod.facts.spare]
        self._spare = [pod for pod in usable if pod.facts.spare]
