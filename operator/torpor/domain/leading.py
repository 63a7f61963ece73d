"""Where the Service of a direct endpoint leads new connections, and when fewer replicas may be.

    1 no replica takes requests (none is Ready, or those that are leave)     → the gateways: they hold, wake, refuse
    2 nobody asks, and the endpoint goes to sleep within `SETTLE_MS`         → the gateways, which still ask the engines
    3 otherwise                                                              → every replica that takes requests

    fewer replicas are written once no pod that may go has been led to for `SETTLE_MS`, and still nobody has asked

Who is led to next is written before who was is taken out, so that there is always somebody; a connection that exists
stays where it is. With gateways in front nothing can come unseen any more: what an engine has not been asked in the
time in which every proxy has heard of the change, and every idle connection to it has been closed, it is not asked.
Whoever does ask meanwhile, by whichever way, moves the deadline, and the Service leads to the engines again (3).

While no gateway can take over, the engines stay (2 → 3), and the endpoint stays awake.
"""

from __future__ import annotations

from dataclasses import dataclass

from torpor.api.conditions import Reason
from torpor.domain.observation import PodSeen
from torpor.domain.scalingview import Decision, ScalingView, idle_since, serving

PROXY_MS = 3_000
"""In which every kube-proxy has heard of a change and has written its rules: it does so once a second at most."""
CLOSED_MS = 5_000
"""After which an engine closes a connection that nobody uses (uvicorn's time-out in vLLM)."""
SETTLE_MS = PROXY_MS + CLOSED_MS
"""From the change of the Service to fewer replicas. What goes serves for the 5 s of its preStop as well."""


@dataclass(frozen=True, slots=True)
class Way:
    """Where a Service leads, as it was last written."""

    engines: frozenset[str] = frozenset()
    """uids of the pods of engines that it leads to."""
    since_ms: int = 0
    """When those were changed last."""
    gateways: int = 0
    """How many gateways it leads to."""

    @property
    def is_open(self) -> bool:
        """Whether it leads to anybody."""
        return bool(self.engines or self.gateways)


def led_to(
    view: ScalingView, decision: Decision, gateways: int, now_ms: int
) -> tuple[PodSeen, ...]:
    """Return the pods that get new connections; none: the gateways get them.

    Args:
        view: What is seen of the endpoint.
        decision: What was decided about its replicas.
        gateways: How many gateways could take over.
        now_ms: Now.
    """
    pods = tuple(pod for pod in serving(view) if pod.ready and pod.ip and pod.spare_ms is None)
    turn = turn_ms(view, decision)
    if gateways and turn is not None and now_ms >= turn:
        return ()
    return pods


def turn_ms(view: ScalingView, decision: Decision) -> int | None:
    """Return when the Service turns to the gateways if nothing changes; None while nobody knows that it will sleep.

    So early that sleep comes in time, but only after `SETTLE_MS` without a request: with a keep-alive shorter than
    twice that, sleep comes later rather than that the Service turns with every other request.
    """
    if decision.reason is Reason.IDLE and decision.replicas is not None:
        return 0
    since, deadline = idle_since(view), decision.deadline_ms
    if since is None or deadline is None:
        return None
    return max(deadline - SETTLE_MS, min(deadline, since + SETTLE_MS))


def held(decision: Decision, view: ScalingView, way: Way, now_ms: int) -> Decision:
    """Return the decision, or that its replicas are kept until nothing can be on its way to those that go.

    A replica that nobody chose (the spec wants fewer, or none) drains by its preStop, as any pod of a Service.
    """
    to = decision.replicas
    if to is None or to >= view.workload.replicas:
        return decision
    spare = {pod.uid for pod in serving(view) if pod.spare_ms is not None}
    leaving = {pod.uid for pod in serving(view)} if decision.reason is Reason.IDLE else spare
    if decision.reason not in (Reason.IDLE, Reason.SERVING) or not leaving:
        return decision
    led, settled = not leaving.isdisjoint(way.engines), way.since_ms + SETTLE_MS
    if not led and now_ms >= settled:
        return decision
    reason = Reason.KEEPING_WARM if decision.reason is Reason.IDLE else decision.reason
    if led:
        said = f"{decision.message}; {_STILL_LED if way.gateways else _NOBODY_TAKES_OVER}"
        return Decision(reason, said, look_again_ms=now_ms + 1000)
    return Decision(reason, f"{decision.message}; {_LED_PAST}", look_again_ms=settled)


_STILL_LED = "its Service is about to lead past what goes"
_NOBODY_TAKES_OVER = "no gateway can take over its Service yet, so that it stays awake"
_LED_PAST = f"its Service leads past what goes, for {SETTLE_MS / 1000:g} s in which nobody may ask"
