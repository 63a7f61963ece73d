"""Questions whose answers show an engine's form, and that form without what changes each time.

Real vLLM's answers are kept in `recorded.json` (`python3 -m dev.vllm record`). The stand-in's fast
tests hold it to them; the engine tests hold the recording to the installed vLLM.
"""

import http.client
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).resolve().parent / "recorded.json"

ARGUMENTS = (
    *("--served-model-name", "tiny", "alias", "--max-model-len", "1024"),
    *("--enable-auto-tool-choice", "--tool-call-parser", "hermes"),
)
"""What the engine is started with for this conversation."""

Json = Any
_HELLO = [{"role": "user", "content": "Hello, how did you sleep this winter?"}]
_USAGE = {"include_usage": True}
_EACH = {"include_usage": True, "continuous_usage_stats": True}
_LONG = "sleep well " * 900
_CONSTANT = {"object", "type", "role", "finish_reason", "owned_by", "status", "model"}


@dataclass(frozen=True)
class Question:
    """One request. `body` is sent as JSON, `raw` as it stands."""

    name: str
    path: str
    body: Json = None
    raw: str | None = None
    method: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    def send(self, host: str, port: int) -> "Reply":
        """Ask the engine at this address."""
        content = self.raw if self.body is None else json.dumps(self.body)
        headers = dict(self.headers)
        if content is not None:
            headers.setdefault("content-type", "application/json")
        method = self.method or ("GET" if content is None else "POST")
        connection = http.client.HTTPConnection(host, port, timeout=60)
        try:
            connection.request(method, self.path, content, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
            return Reply(answer.status, answer.headers.get("content-type"), text)
        finally:
            connection.close()


@dataclass(frozen=True)
class Reply:
    """An answer as it came."""

    status: int
    content_type: str | None
    text: str

    def form(self) -> dict[str, Json]:
        """What must be the same for every engine of this kind: errors word for word, all else by shape."""
        kind = self.content_type or ""
        if not self.text:
            shown: Json = ""
        elif kind.startswith("text/event-stream"):
            shown = events_form(self.text)
        elif self.status >= 400 and kind == "application/json":
            shown = json.loads(self.text)
        elif kind == "application/json":
            shown = shape(json.loads(self.text))
        elif "version=" in kind:
            shown = metrics_form(self.text)
        else:
            shown = self.text
        return {"status": self.status, "content_type": self.content_type, "body": shown}


def _chat(**more: Json) -> Json:
    return {"model": "tiny", "messages": _HELLO, "temperature": 0, **more}


def _text(**more: Json) -> Json:
    return {"model": "tiny", "prompt": "hello", "temperature": 0, "max_tokens": 3, **more}


def _responses(**more: Json) -> Json:
    return {"model": "tiny", "input": "hello", "max_output_tokens": 3, **more}


LOOK_OUTSIDE: Json = {
    "name": "look_outside",
    "description": "See whether it is spring",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "enum": ["Oslo"]}},
        "required": ["city"],
        "additionalProperties": False,
    },
}


def _tools(choice: Json, **more: Json) -> Json:
    """A chat that must call a tool."""
    tools = [{"type": "function", "function": LOOK_OUTSIDE}]
    return _chat(tools=tools, tool_choice=choice, max_tokens=64, **more)


_NAMED = {"type": "function", "function": {"name": "look_outside"}}

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"

QUESTIONS = (
    Question("health", "/health"),
    Question("models", "/v1/models"),
    Question("version", "/version"),
    Question("load", "/load"),
    Question("ping", "/ping"),
    Question("chat", CHAT, _chat(max_tokens=5)),
    Question("chat without a model", CHAT, {"messages": _HELLO, "max_tokens": 2}),
    Question("chat, two choices", CHAT, _chat(max_tokens=3, n=2, temperature=1)),
    Question("chat by an alias, streamed", CHAT, _chat(model="alias", max_tokens=4, stream=True)),
    Question(
        "chat streamed with usage",
        CHAT,
        _chat(max_tokens=3, stream=True, stream_options=_USAGE),
    ),
    Question(
        "chat streamed with usage in each chunk",
        CHAT,
        _chat(max_tokens=3, stream=True, stream_options=_EACH),
    ),
    Question("chat that names a tool", CHAT, _tools(_NAMED)),
    Question("chat that requires a tool", CHAT, _tools("required")),
    Question("chat that names a tool, streamed", CHAT, _tools(_NAMED, stream=True)),
    Question(
        "chat that requires a tool, streamed with usage in each chunk",
        CHAT,
        _tools("required", stream=True, stream_options=_EACH),
    ),
    Question("completion", TEXT, _text()),
    Question("completion of two prompts", TEXT, _text(prompt=["hello", "you"], max_tokens=2)),
    Question("completion streamed", TEXT, _text(stream=True)),
    Question("completion streamed with usage", TEXT, _text(stream=True, stream_options=_USAGE)),
    Question(
        "completion streamed with usage in each chunk",
        TEXT,
        _text(stream=True, stream_options=_EACH),
    ),
    Question("unknown model, chat", CHAT, _chat(model="nope")),
    Question("unknown model, completion", TEXT, _text(model="nope")),
    Question("broken JSON", CHAT, raw="{bad"),
    Question("not declared as JSON", CHAT, _chat(), headers={"content-type": "text/plain"}),
    Question("no messages", CHAT, {"model": "tiny"}),
    Question("empty messages", CHAT, _chat(messages=[])),
    Question("messages that are no list", CHAT, _chat(messages="x")),
    Question("more tokens than the context", CHAT, _chat(max_tokens=5000)),
    Question("no tokens", CHAT, _chat(max_tokens=0)),
    Question("no completion tokens", CHAT, _chat(max_completion_tokens=0)),
    Question("negative temperature", CHAT, _chat(temperature=-1)),
    Question("too long a chat", CHAT, _chat(messages=[{"role": "user", "content": _LONG}])),
    Question("too long a prompt", TEXT, _text(prompt=_LONG)),
    Question("response", "/v1/responses", _responses()),
    Question("response streamed", "/v1/responses", _responses(stream=True)),
    Question(
        "tokenize", "/tokenize", {"model": "tiny", "prompt": "hello you", "return_token_strs": True}
    ),
    Question("tokenize a chat", "/tokenize", {"model": "tiny", "messages": _HELLO}),
    Question("detokenize", "/detokenize", {"model": "tiny", "tokens": [300, 301]}),
    Question("no such path", "/nothing"),
    Question("wrong method", CHAT, method="GET"),
    Question("head", "/health", method="HEAD"),
    Question("metrics", "/metrics"),
)


def shape(value: Json, name: str = "") -> Json:
    """A value's form: keys in their order, kinds instead of values, but constants as they are."""
    if isinstance(value, dict):
        return {key: shape(entry, key) for key, entry in value.items()}
    if isinstance(value, list):
        forms: list[Json] = []
        for entry in value:
            if (form := shape(entry, name)) not in forms:
                forms.append(form)
        return forms
    if isinstance(value, str) and name in _CONSTANT:
        return f"={value}"
    if isinstance(value, bool) or value is None:
        return value
    return "number" if isinstance(value, int | float) else type(value).__name__


def events_form(text: str) -> list[Json]:
    """The different forms of a stream's events, in the order of their first appearance."""
    forms: list[Json] = []
    for block in text.split("\n\n"):
        if not block:
            continue
        lines = dict(line.split(": ", 1) for line in block.split("\n"))
        data = lines["data"]
        form = {**lines, "data": data if data == "[DONE]" else shape(json.loads(data))}
        if form not in forms:
            forms.append(form)
    return forms


def metrics_form(text: str) -> dict[str, Json]:
    """List vLLM's own metrics: name → kind, help, and the names of the labels."""
    found: dict[str, dict[str, Json]] = {}
    for line in text.splitlines():
        if line.startswith(("# HELP vllm:", "# TYPE vllm:")):
            _, what, name, said = line.split(" ", 3)
            found.setdefault(name, {})[what.lower()] = said
        elif line.startswith("vllm:"):
            name, _, rest = line.partition("{")
            labels = sorted(part.split('="')[0] for part in rest.split("}")[0].split('",'))
            for ending in ("_bucket", "_count", "_sum", ""):
                base = name.removesuffix(ending)
                if name.endswith(ending) and base in found:
                    found[base].setdefault("labels", {})[ending] = labels
                    break
    return found
