"""Paths of OpenAI's API that no engine answers and a gateway cannot, and what to do instead."""

from __future__ import annotations

from torpor.domain.waitroom import Refusal

CHAT = "/v1/chat/completions"
_KEPT = (
    f"nothing is kept between two requests: send the whole conversation to {CHAT} or /v1/responses"
)
INSTEAD = {
    "/v1/assistants": _KEPT,
    "/v1/batches": f"send each request of a batch by itself, to {CHAT} for instance: one wake serves them all",
    "/v1/conversations": _KEPT,
    "/v1/files": "no files are kept: send their content in the request itself, as base64 or as a form",
    "/v1/fine_tuning": "no models are trained: list finished adapters in the endpoint's spec.model.adapters",
    "/v1/moderations": f"ask a model that moderates, by {CHAT} or /classify",
    "/v1/realtime": f"there are no WebSockets: ask {CHAT} for a stream, or /v1/audio/transcriptions",
    "/v1/responses": _KEPT,
    "/v1/threads": _KEPT,
    "/v1/uploads": "no files are kept: send their content in the request itself, as base64 or as a form",
    "/v1/vector_stores": "no documents are kept: take vectors from /v1/embeddings into a store of your own",
}
"""First parts of paths; what lies below them is meant too."""


def explain_absence(method: str, path: str) -> Refusal:
    """Return why there is no such path, with the way to go where there is one."""
    head = "/".join(path.split("/", 3)[:3])
    if (instead := INSTEAD.get(head)) is not None:
        return Refusal(404, "not_supported", f"torpor does not do {method} {head}: {instead}")
    return Refusal(
        404, "unknown_url", f"There is no {method} {path[:200]} here; /v1/models lists the models"
    )
