"""Settings of the long-running programs: one frozen model each, read once from the environment."""

from __future__ import annotations

import socket
from typing import Annotated

from pydantic import AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

MIB = 1024 * 1024

Seconds = Annotated[float, Field(ge=0)]


class GatewaySettings(BaseSettings):
    """What `torpor gateway` is told, as `TORPOR_GATEWAY_<FIELD>`; times are in seconds."""

    model_config = SettingsConfigDict(
        env_prefix="TORPOR_GATEWAY_", frozen=True, extra="ignore", populate_by_name=True
    )

    host: str = "0.0.0.0"
    """Address of both ports; `::` for IPv6."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """Port of the OpenAI API; 0 takes any free one."""
    external_port: Annotated[int, Field(ge=0, le=65535)] | None = None
    """One more port of the OpenAI API, for clients outside the cluster: endpoints without keys are not there. Default:
    none."""
    internal_port: Annotated[int, Field(ge=0, le=65535)] = 8081
    """Port of health, metrics and demand, which must not be reachable by clients; 0 takes any free one."""
    pod_name: str = Field(default_factory=socket.gethostname)
    """Who speaks in the demand report. Default: the host name, which in a pod is the pod's name."""
    kubeconfig: str | None = Field(
        default=None, validation_alias=AliasChoices("TORPOR_GATEWAY_KUBECONFIG", "KUBECONFIG")
    )
    """Path of a kubeconfig. Default: the pod's service account, or else ~/.kube/config."""
    kube_context: str | None = None
    """Context of the kubeconfig. Default: its current one."""
    log_level: str = "INFO"
    access_log: bool = False
    """Whether to write one JSON line about each request to the standard output; prompts and answers are not in it."""

    max_body_bytes: Annotated[int, Field(ge=1024)] = 32 * MIB
    """Largest request body, answered with 413 beyond: room for a few images in base64."""
    max_held_bytes: Annotated[int, Field(ge=1024)] = 256 * MIB
    """Most bytes of bodies read or held for all endpoints together, answered with 429 beyond: it bounds the memory.
    A quarter of the 1 GiB that the chart allows a gateway: a body that is just being parsed takes several times its
    size for a moment, and connections, the buffers of streams and the interpreter need the rest."""
    body_timeout: Seconds = 60.0
    """Time for a client to send its body; slower ones are answered with 408."""
    idle_timeout: Seconds = 75.0
    """Time an idle client connection is kept: longer than the 60 s of common load balancers, which close first."""
    header_timeout: Annotated[float, Field(gt=0)] = 20.0
    """Time from the first byte of a request to the end of its headers; slower ones are answered with 408."""
    send_timeout: Annotated[float, Field(gt=0)] = 60.0
    """Time a client may take nothing of an answer that waits for it; then its connection is cut and the engine freed.
    Up to that it costs 128 KiB, for no more is read from the engine than was taken."""
    max_connections: Annotated[int, Field(ge=1)] = 16384
    """Most client connections: an idle one costs about 8 KB. For one more the one that is idle for longest is closed;
    if none is, the new one is answered with 503. The limit on open files may bound it earlier."""

    connect_timeout: Seconds = 2.0
    """Time to connect to a pod; a node that died does not refuse, it is silent."""
    upstream_silence: Annotated[float, Field(ge=1)] = 20.0
    """Time after which a pod whose node answers nothing at all is given up, and its requests fail: half of what
    Kubernetes takes to call a node not ready. An engine that is busy is not silent, for its node's kernel answers."""
    upstream_idle_timeout: Seconds = 3.0
    """Time an idle connection to a pod is kept: shorter than the 5 s after which uvicorn closes it, so that no
    request is written into a connection that is just being closed."""
    probe_interval: Annotated[float, Field(gt=0)] = 0.05
    """Pause between probes of a starting pod while somebody waits: half of the 100 ms that the first byte may take."""
    probe_timeout: Annotated[float, Field(gt=0)] = 1.0
    """Time for one probe to be answered."""
    wake_timeout: Annotated[float, Field(gt=0)] = 5.0
    """Time for the API server to answer a wake write; then it is tried again, which the guard makes harmless."""

    warming_after: Annotated[float, Field(gt=0)] = 5.0
    """Wait of a streaming request before its first SSE comment; until then a failure has its own HTTP status."""
    warming_every: Annotated[float, Field(gt=0, le=30)] = 10.0
    """Pause between SSE comments: proxies cut silent streams after 30 or 60 s."""

    drain_delay: Seconds = 5.0
    """Time between failing readiness and closing the port: what it takes every load balancer to notice."""
    drain_grace: Seconds = 600.0
    """Longest time for requests that wait or run to end after that; the pod's own grace period must be longer."""
    farewell: Seconds = 3.0
    """Longest time to wait for the controller to read the last demand report before the process ends."""


class ControllerSettings(BaseSettings):
    """What `torpor controller` is told, as `TORPOR_CONTROLLER_<FIELD>`."""

    model_config = SettingsConfigDict(
        env_prefix="TORPOR_CONTROLLER_", frozen=True, extra="ignore", populate_by_name=True
    )

    host: str = "0.0.0.0"
    """Address of the port for health and metrics; `::` for IPv6."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """Port of /healthz, /readyz and /metrics; 0 takes any free one."""
    page_host: str = "127.0.0.1"
    """Address of the page's port. A loopback address is reached by `kubectl port-forward` only, and answers to the
    names of the own machine only; any other shows every endpoint to whoever reaches it."""
    page_port: Annotated[int, Field(ge=0, le=65535)] = 8082
    """Port of the page; 0 takes any free one."""
    pod_name: str = Field(default_factory=socket.gethostname)
    """Identity in the Lease. Default: the host name, which in a pod is the pod's name."""
    namespace: str = "torpor-system"
    """Namespace of the Lease and of the gateways."""
    kubeconfig: str | None = Field(
        default=None, validation_alias=AliasChoices("TORPOR_CONTROLLER_KUBECONFIG", "KUBECONFIG")
    )
    """Path of a kubeconfig. Default: the pod's service account, or else ~/.kube/config."""
    lease_name: str = "torpor-controller"
    """Name of the Lease that decides which controller acts."""
    image: str = ""
    """torpor's own image, for prewarm Jobs and init containers. Must be set; the chart does."""
    image_pull_policy: str = "IfNotPresent"
    """Pull policy of torpor's image and of engines without one of their own."""
    engine_image: str = "vllm/vllm-openai:v0.32.0"
    """vLLM's image where `spec.engine.image` is not set."""
    cache_dir: str = "/var/lib/torpor/weights"
    """Directory on every node that keeps weights."""
    weights_recheck: Seconds = 3600.0
    """How long a listing of a bucket is believed before a Job on a CPU looks again whether it still holds; 0: for
    ever. What was replaced in the bucket is then fetched anew."""
    gateway_url: str = ""
    """Base URL of the OpenAI API inside the cluster, shown in `status.url`."""
    gateway_port: Annotated[int, Field(ge=1, le=65535)] = 8081
    """Port on which gateways tell their demand."""
    log_level: str = "INFO"
