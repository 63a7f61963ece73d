"""Settings of `torpor prewarm`, read with the standard library alone (a cache hit must start in milliseconds)."""

import os
from collections.abc import Mapping
from typing import NamedTuple

MIB = 1024 * 1024


class InvalidSetting(ValueError):
    """A variable that cannot be read; `str()` names it, its value and what is allowed."""


class PrewarmSettings(NamedTuple):
    """All that a prewarm pod is told. Empty text means "not given"."""

    source: str = ""
    """`TORPOR_SOURCE`: `s3://bucket/prefix/`. May be empty where only a cache hit is looked for."""
    endpoint: str = ""
    """`TORPOR_S3_ENDPOINT`: `http(s)://host[:port]`. Empty: AWS, from the region."""
    region: str = "us-east-1"
    """`TORPOR_S3_REGION`, also read from `AWS_REGION`: what requests are signed for. Most other stores take any."""
    path_style: bool = False
    """`TORPOR_S3_PATH_STYLE`: `host/bucket/key` instead of `bucket.host/key`."""
    ca_file: str = ""
    """`TORPOR_S3_CA_FILE`: PEM file trusted in addition to the system's authorities."""
    access_key: str = ""
    """`AWS_ACCESS_KEY_ID`. Empty: botocore's own chain looks (web identity, instance role)."""
    secret_key: str = ""
    """`AWS_SECRET_ACCESS_KEY`."""
    session_token: str = ""
    """`AWS_SESSION_TOKEN` of temporary credentials."""
    cache_dir: str = "/var/lib/torpor/weights"
    """`TORPOR_CACHE_DIR`: the node's weights cache, mounted at the same path in every pod."""
    budget_bytes: int = 0
    """`TORPOR_CACHE_BUDGET_BYTES`: most the cache may hold; 0: as much as the disk has free."""
    termination_log: str = "/dev/termination-log"
    """`TORPOR_TERMINATION_LOG`: where the result is written; the kubelet puts it into the pod's status."""
    connections: int = 0
    """`TORPOR_PREWARM_CONNECTIONS` (0-64): parallel ranges to begin with; 0: 4 for each core, at most 16."""
    part_attempts: int = 10
    """`TORPOR_PREWARM_PART_ATTEMPTS` (1-100): tries of one range. Ten take about 40 s: a store may restart."""
    part_bytes: int = 0
    """`TORPOR_PREWARM_PART_BYTES`: size of a range, a multiple of 4096; 0: 8 to 32 MiB, by how much there is."""
    processes: int = 0
    """`TORPOR_PREWARM_PROCESSES` (0-16): processes that move bytes; 0: as many as rate and cores ask for."""
    anonymous: bool = False
    """`TORPOR_S3_ANONYMOUS`: requests are not signed, for public buckets."""
    extras: str = ""
    """`TORPOR_EXTRAS`: what is fetched beside the model, in order, as JSON: `[{"name": "legal", "kind": "adapter",
    "source": "s3://…"}]`; kinds are `adapter` and `draft`."""
    hub_endpoint: str = "https://huggingface.co"
    """`TORPOR_HUB_ENDPOINT`, also read from `HF_ENDPOINT`: where `hf://` sources are copied from."""
    hub_mirror: str = ""
    """`TORPOR_HUB_MIRROR`: `s3://bucket/prefix/` below which copies of `hf://` sources are put."""
    hub_token: str = ""
    """`HF_TOKEN`: for gated and private repositories."""
    keep: str = ""
    """`TORPOR_CACHE_KEEP`: hashes, separated by commas, that must not be evicted: they run, or are pinned."""
    keep_as_of: int = 0
    """`TORPOR_CACHE_KEEP_AS_OF`: when that list was made, epoch seconds; 0: there is none, nothing may be evicted."""
    last_use: int = 0
    """`TORPOR_LAST_USE`: when an engine last started with these weights, epoch seconds; copies used later than that
    are not evicted for them."""
    pin: bool = False
    """`TORPOR_CACHE_PIN`: what is fetched now is never evicted."""
    progress_port: int = 0
    """`TORPOR_PREWARM_PROGRESS_PORT` (0-65535): where progress is told over HTTP; 0: nowhere."""
    compile_key: str = ""
    """`TORPOR_COMPILE_KEY`: names what the engine compiles (image, GPU, arguments, weights); empty: not kept."""
    compile_dir: str = ""
    """`TORPOR_COMPILE_DIR`: the pod's own copy, which the engine reads and writes."""
    compile_store: str = ""
    """`TORPOR_COMPILE_STORE`: `s3` keeps a copy in the bucket beside the weights; empty: on the node only."""
    warm_pages: bool = False
    """`TORPOR_WARM_PAGES`: read the weights into the page cache while the engine starts, if memory allows."""
    engine_port: int = 8000
    """`TORPOR_ENGINE_PORT` (1-65535): where the engine beside the companion answers `/health`."""

    claim_dir: str = ""
    """`TORPOR_CLAIM_DIR`: where the claim of a `pvc://` source is mounted, as a whole."""

    def __repr__(self) -> str:
        """Keep secrets out of logs and tracebacks."""
        return f"PrewarmSettings(source={self.source!r}, endpoint={self.endpoint!r})"


def read_prewarm_settings(environ: Mapping[str, str] = os.environ) -> PrewarmSettings:
    """Read the environment.

    Raises:
        InvalidSetting: a number or a boolean that is none, or a number outside its bounds.
    """
    default = PrewarmSettings()
    return PrewarmSettings(
        source=environ.get("TORPOR_SOURCE", ""),
        endpoint=environ.get("TORPOR_S3_ENDPOINT", "").rstrip("/"),
        region=environ.get("TORPOR_S3_REGION") or environ.get("AWS_REGION") or default.region,
        path_style=_read_flag(environ, "TORPOR_S3_PATH_STYLE"),
        ca_file=environ.get("TORPOR_S3_CA_FILE", ""),
        access_key=environ.get("AWS_ACCESS_KEY_ID", "").strip(),
        secret_key=environ.get("AWS_SECRET_ACCESS_KEY", "").strip(),
        session_token=environ.get("AWS_SESSION_TOKEN", "").strip(),
        cache_dir=environ.get("TORPOR_CACHE_DIR") or default.cache_dir,
        budget_bytes=_read_number(environ, "TORPOR_CACHE_BUDGET_BYTES", 0, 0, 2**63),
        termination_log=read_termination_log(environ),
        connections=_read_number(environ, "TORPOR_PREWARM_CONNECTIONS", 0, 0, 64),
        part_attempts=_read_number(
            environ, "TORPOR_PREWARM_PART_ATTEMPTS", default.part_attempts, 1, 100
        ),
        part_bytes=_read_number(environ, "TORPOR_PREWARM_PART_BYTES", 0, 0, 256 * MIB, step=4096),
        processes=_read_number(environ, "TORPOR_PREWARM_PROCESSES", 0, 0, 16),
        anonymous=_read_flag(environ, "TORPOR_S3_ANONYMOUS"),
        extras=environ.get("TORPOR_EXTRAS", ""),
        hub_endpoint=(
            environ.get("TORPOR_HUB_ENDPOINT") or environ.get("HF_ENDPOINT") or default.hub_endpoint
        ).rstrip("/"),
        hub_mirror=environ.get("TORPOR_HUB_MIRROR", ""),
        hub_token=environ.get("HF_TOKEN", "").strip(),
        keep=environ.get("TORPOR_CACHE_KEEP", ""),
        keep_as_of=_read_number(environ, "TORPOR_CACHE_KEEP_AS_OF", 0, 0, 2**63),
        last_use=_read_number(environ, "TORPOR_LAST_USE", 0, 0, 2**63),
        pin=_read_flag(environ, "TORPOR_CACHE_PIN"),
        progress_port=_read_number(environ, "TORPOR_PREWARM_PROGRESS_PORT", 0, 0, 65535),
        compile_key=environ.get("TORPOR_COMPILE_KEY", ""),
        compile_dir=environ.get("TORPOR_COMPILE_DIR", ""),
        compile_store=environ.get("TORPOR_COMPILE_STORE", ""),
        warm_pages=_read_flag(environ, "TORPOR_WARM_PAGES"),
        engine_port=_read_number(environ, "TORPOR_ENGINE_PORT", default.engine_port, 1, 65535),
        claim_dir=environ.get("TORPOR_CLAIM_DIR", ""),
    )


def read_termination_log(environ: Mapping[str, str] = os.environ) -> str:
    """Where to say that the other settings cannot be read."""
    return environ.get("TORPOR_TERMINATION_LOG") or PrewarmSettings().termination_log


def _read_flag(environ: Mapping[str, str], name: str) -> bool:
    text = environ.get(name, "").strip().lower()
    if text in ("", "false", "0"):
        return False
    if text in ("true", "1"):
        return True
    raise InvalidSetting(f"{name} is {text!r}; it must be true or false")


def _read_number(
    environ: Mapping[str, str], name: str, default: int, least: int, most: int, *, step: int = 1
) -> int:
    text = environ.get(name, "").strip()
    if not text:
        return default
    allowed = f"{name} is {text!r}; it must be a whole number from {least} to {most}"
    try:
        number = int(text)
    except ValueError:
        raise InvalidSetting(allowed) from None
    if not least <= number <= most:
        raise InvalidSetting(allowed)
    if number % step:
        raise InvalidSetting(f"{name} is {number}; it must be a multiple of {step}")
    return number
