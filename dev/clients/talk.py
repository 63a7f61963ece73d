"""`talk.py openai | langchain | litellm`: for each line of JSON that says what to ask, print a line with what came.

It runs in the environment of the clients, without the project: only they and the standard library are there.
"""

import json
import sys
from typing import Any

SECONDS = 60


class OpenAI:
    """The official package."""

    def __init__(self) -> None:
        """Load it."""
        import openai

        self._make = openai.OpenAI

    def _open(self, url: str, key: str) -> Any:
        return self._make(base_url=url, api_key=key, max_retries=0, timeout=SECONDS)

    def chat(self, url: str, key: str, model: str, said: str) -> Any:
        """Ask for a whole answer."""
        asked = [{"role": "user", "content": said}]
        with self._open(url, key) as client:
            got = client.chat.completions.create(model=model, messages=asked)
        return {"text": got.choices[0].message.content, "tokens": got.usage.completion_tokens}

    def stream(self, url: str, key: str, model: str, said: str, usage: bool) -> Any:
        """Ask for a stream, with or without its usage."""
        asked = [{"role": "user", "content": said}]
        more = {"stream_options": {"include_usage": True}} if usage else {}
        with self._open(url, key) as client:
            pieces = list(
                client.chat.completions.create(model=model, messages=asked, stream=True, **more)
            )
        text = "".join(p.choices[0].delta.content or "" for p in pieces if p.choices)
        told = [piece.usage.completion_tokens for piece in pieces if piece.usage]
        empty = sum(not piece.choices for piece in pieces)
        return {"text": text, "told": told, "empty": empty}

    def tools(self, url: str, key: str, model: str, tool: Any, stream: bool) -> Any:
        """Ask for a call of a tool."""
        wish = {
            "model": model,
            "messages": [{"role": "user", "content": "is it spring?"}],
            "tools": [tool],
            "tool_choice": "required",
        }
        with self._open(url, key) as client:
            if not stream:
                got = client.chat.completions.create(**wish).choices[0]
                (call,) = got.message.tool_calls
                function, finish = call.function, got.finish_reason
                return {"name": function.name, "arguments": function.arguments, "finish": finish}
            name = arguments = finish = ""
            for piece in client.chat.completions.create(stream=True, **wish):
                for choice in piece.choices:
                    finish = choice.finish_reason or finish
                    for part in choice.delta.tool_calls or ():
                        name += part.function.name or ""
                        arguments += part.function.arguments or ""
        return {"name": name, "arguments": arguments, "finish": finish}

    def embed(self, url: str, key: str, model: str, texts: list[str]) -> Any:
        """Ask for vectors; the package itself asks for base64."""
        with self._open(url, key) as client:
            got = client.embeddings.create(model=model, input=texts, dimensions=8)
        return [entry.embedding for entry in got.data]

    def models(self, url: str, key: str) -> Any:
        """List the models."""
        with self._open(url, key) as client:
            return [model.id for model in client.models.list()]

    def respond(self, url: str, key: str, model: str, said: str) -> Any:
        """Ask by the newer way."""
        with self._open(url, key) as client:
            return client.responses.create(model=model, input=said).output_text

    def batches(self, url: str, key: str) -> Any:
        """Ask for what a gateway does not have."""
        with self._open(url, key) as client:
            return client.batches.list().data


class LangChain:
    """LangChain's client."""

    def __init__(self) -> None:
        """Load it."""
        import langchain_openai

        self._library = langchain_openai

    def _open(self, url: str, key: str, model: str, **more: Any) -> Any:
        given = {"base_url": url, "api_key": key, "model": model, "max_retries": 0}
        return self._library.ChatOpenAI(**given, timeout=SECONDS, **more)

    def chat(self, url: str, key: str, model: str, said: str) -> Any:
        """Ask for a whole answer."""
        got = self._open(url, key, model).invoke(said)
        return {"text": got.content, "tokens": got.usage_metadata["output_tokens"]}

    def stream(self, url: str, key: str, model: str, said: str, usage: bool) -> Any:
        """Ask for a stream, with or without its usage."""
        pieces = list(self._open(url, key, model, stream_usage=usage).stream(said))
        told = [p.usage_metadata["output_tokens"] for p in pieces if p.usage_metadata]
        return {"text": "".join(piece.content for piece in pieces), "told": told}

    def tools(self, url: str, key: str, model: str, tool: Any, stream: bool) -> Any:
        """Ask for a call of a tool."""
        bound = self._open(url, key, model).bind_tools([tool], tool_choice="required")
        if stream:
            first, *rest = bound.stream("is it spring?")
            for piece in rest:
                first += piece
            got = first
        else:
            got = bound.invoke("is it spring?")
        (call,) = got.tool_calls
        arguments = json.dumps(call["args"], separators=(",", ":"))
        finish = got.response_metadata["finish_reason"]
        return {"name": call["name"], "arguments": arguments, "finish": finish}

    def embed(self, url: str, key: str, model: str, texts: list[str]) -> Any:
        """Ask for vectors, as its documentation says for servers that are not OpenAI's."""
        client = self._library.OpenAIEmbeddings(
            base_url=url,
            api_key=key,
            model=model,
            dimensions=8,
            max_retries=0,
            check_embedding_ctx_length=False,
        )
        return client.embed_documents(texts)


class LiteLLM:
    """LiteLLM, told that the server speaks OpenAI's API."""

    def __init__(self) -> None:
        """Load it."""
        import litellm

        litellm.suppress_debug_info = True
        self._library = litellm

    def _given(self, url: str, key: str, model: str) -> Any:
        return {"model": f"openai/{model}", "api_base": url, "api_key": key, "max_retries": 0}

    def _ask(self, url: str, key: str, model: str, said: str, **more: Any) -> Any:
        asked = [{"role": "user", "content": said}]
        given = self._given(url, key, model)
        return self._library.completion(messages=asked, timeout=SECONDS, **given, **more)

    def chat(self, url: str, key: str, model: str, said: str) -> Any:
        """Ask for a whole answer."""
        got = self._ask(url, key, model, said)
        return {"text": got.choices[0].message.content, "tokens": got.usage.completion_tokens}

    def stream(self, url: str, key: str, model: str, said: str, usage: bool) -> Any:
        """Ask for a stream, with or without its usage."""
        more = {"stream_options": {"include_usage": True}} if usage else {}
        pieces = list(self._ask(url, key, model, said, stream=True, **more))
        text = "".join(p.choices[0].delta.content or "" for p in pieces if p.choices)
        found = [getattr(piece, "usage", None) for piece in pieces]
        return {"text": text, "told": [usage.completion_tokens for usage in found if usage]}

    def tools(self, url: str, key: str, model: str, tool: Any, stream: bool) -> Any:
        """Ask for a call of a tool."""
        more = {"tools": [tool], "tool_choice": "required", "stream": stream}
        got = self._ask(url, key, model, "is it spring?", **more)
        if stream:
            got = self._library.stream_chunk_builder(list(got))
        (call,) = got.choices[0].message.tool_calls
        finish = got.choices[0].finish_reason
        function = call.function
        return {"name": function.name, "arguments": function.arguments, "finish": finish}

    def embed(self, url: str, key: str, model: str, texts: list[str]) -> Any:
        """Ask for vectors."""
        given = self._given(url, key, model)
        got = self._library.embedding(
            input=texts, dimensions=8, allowed_openai_params=["dimensions"], **given
        )
        return [entry["embedding"] for entry in got.data]


def describe(error: Exception) -> Any:
    """Return what an exception says of itself."""
    return {
        "name": type(error).__name__,
        "bases": [base.__name__ for base in type(error).__mro__],
        "status": getattr(error, "status_code", None),
        "message": str(error),
    }


def main() -> None:
    """Talk until the input ends."""
    client = {"openai": OpenAI, "langchain": LangChain, "litellm": LiteLLM}[sys.argv[1]]()
    said, sys.stdout = (
        sys.stdout,
        sys.stderr,
    )  # a library that prints must not be taken for an answer
    for line in sys.stdin:
        wish = json.loads(line)
        try:
            answer = {"answer": getattr(client, wish.pop("do"))(**wish)}
        except Exception as error:
            answer = {"raised": describe(error)}
        print(json.dumps(answer), file=said, flush=True)


if __name__ == "__main__":
    main()
