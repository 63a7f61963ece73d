"""The /metrics page: vLLM's names, helps and labels (`engine`, `model_name`)."""

from collections.abc import Iterable, Mapping

from .core import Counts
from .histogram import Histogram

CONTENT_TYPE = "text/plain; version=1.0.0; charset=utf-8"

KV_TOKENS = 1_000_000
"""Tokens that the pretended KV cache holds."""

FINISHED_REASONS = ("stop", "length", "abort", "error", "repetition")
"""Values of the label `finished_reason`; all are present from the start."""


def _label(labels: Mapping[str, str]) -> str:
    def escape(value: str) -> str:
        return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

    return ",".join(f'{key}="{escape(labels[key])}"' for key in sorted(labels))


class _Page:
    def __init__(self, labels: Mapping[str, str], created: float) -> None:
        self._labels = labels
        self._created = created
        self.lines: list[str] = []

    def _sample(self, name: str, value: float, **more: str) -> None:
        self.lines.append(f"{name}{{{_label({**self._labels, **more})}}} {float(value)!r}")

    def _head(self, name: str, kind: str, text: str) -> None:
        self.lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]

    def _born(self, name: str, text: str, varieties: Iterable[Mapping[str, str]]) -> None:
        self._head(f"{name}_created", "gauge", text)
        for more in varieties:
            self._sample(f"{name}_created", self._created, **more)

    def gauge(self, name: str, text: str, value: float) -> None:
        self._head(name, "gauge", text)
        self._sample(name, value)

    def counter(self, name: str, text: str, values: Mapping[str, float], by: str = "") -> None:
        """A counter; `name` without `_total`. With `by`, one sample per key of `values`."""
        varieties = [{by: key} if by else {} for key in values]
        self._head(f"{name}_total", "counter", text)
        for more, value in zip(varieties, values.values(), strict=True):
            self._sample(f"{name}_total", value, **more)
        self._born(name, text, varieties)

    def histogram(self, name: str, text: str, of: Histogram) -> None:
        self._head(name, "histogram", text)
        pairs = of.cumulative()
        for bound, count in pairs:
            self._sample(f"{name}_bucket", count, le=bound)
        self._sample(f"{name}_count", pairs[-1][1])
        self._sample(f"{name}_sum", of.sum)
        self._born(name, text, [{}])


def render(counts: Counts, model_name: str, created: float) -> bytes:
    """The page; `created` is when the engine started, in seconds since 1970."""
    page = _Page({"engine": "0", "model_name": model_name}, created)
    page.gauge(
        "vllm:num_requests_running",
        "Number of requests in model execution batches.",
        counts.running,
    )
    page.gauge(
        "vllm:num_requests_waiting",
        "Number of requests waiting to be processed.",
        counts.waiting,
    )
    page.gauge(
        "vllm:kv_cache_usage_perc",
        "KV-cache usage. 1 means 100 percent usage.",
        min(1.0, counts.kv_tokens / KV_TOKENS),
    )
    page.counter(
        "vllm:num_preemptions", "Cumulative number of preemption from the engine.", {"": 0}
    )
    page.counter(
        "vllm:prompt_tokens", "Number of prefill tokens processed.", {"": counts.prompt_tokens}
    )
    page.counter(
        "vllm:generation_tokens",
        "Number of generation tokens processed.",
        {"": counts.generation_tokens},
    )
    page.counter(
        "vllm:request_success",
        "Count of successfully processed requests.",
        {reason: counts.finished[reason] for reason in FINISHED_REASONS},
        by="finished_reason",
    )
    page.histogram(
        "vllm:time_to_first_token_seconds",
        "Histogram of time to first token in seconds.",
        counts.first_token,
    )
    page.histogram(
        "vllm:e2e_request_latency_seconds",
        "Histogram of e2e request latency in seconds.",
        counts.latency,
    )
    page.histogram(
        "vllm:request_queue_time_seconds",
        "Histogram of time spent in WAITING phase for request.",
        counts.queued,
    )
    return "\n".join([*page.lines, ""]).encode()
