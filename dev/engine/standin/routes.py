"""Path and method → answer, with vLLM's ways to say no."""

from collections.abc import Awaitable, Callable

from . import chat, completions, other_routes, responses
from .errors import ApiError
from .service import Service
from .wire import Answer, Request, json_answer

Route = Callable[[Service, Request], Awaitable[Answer]]

ROUTES: dict[str, dict[str, Route]] = {
    "/health": {"GET": other_routes.health},
    "/ping": {"GET": other_routes.health, "POST": other_routes.health},
    "/load": {"GET": other_routes.load},
    "/version": {"GET": other_routes.version},
    "/metrics": {"GET": other_routes.page_of_metrics},
    "/v1/models": {"GET": other_routes.models},
    "/v1/chat/completions": {"POST": chat.answer},
    "/v1/completions": {"POST": completions.answer},
    "/v1/responses": {"POST": responses.answer},
    "/v1/embeddings": {"POST": other_routes.embeddings},
    "/tokenize": {"POST": other_routes.tokenize},
    "/detokenize": {"POST": other_routes.detokenize},
}


class Router:
    """Answers 503 to everything until a model is loaded, then by `ROUTES`."""

    def __init__(self) -> None:
        self.service: Service | None = None

    async def handle(self, request: Request) -> Answer:
        """Answer one request."""
        if self.service is None:
            return Answer(503)
        methods = ROUTES.get(request.path)
        if methods is None:
            return json_answer({"detail": "Not Found"}, 404)
        route = methods.get(request.method)
        if route is None:
            said = json_answer({"detail": "Method Not Allowed"}, 405)
            return Answer(405, said.body, said.content_type, {"allow": ", ".join(methods)})
        try:
            return await route(self.service, request)
        except ApiError as error:
            return error.answer()
