"""How programs reach the API server: the pod's own service account, or a kubeconfig.

An API server that starts listens before it has read who may what, and forbids everything for some hundredths of a
second (20 to 100 ms, measured on 1.34); `/readyz` says so for a second longer. Whoever is told 403 therefore looks
there: one that starts counts as not reached; one that has started is asked again, for it may have in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.rest import RESTClientObject

KEEPALIVE_SECONDS = 80.0
"""Idle connections are kept for this long, below the 90 s of the API server: the next wake need not shake hands."""

_STARTED = aiohttp.ClientTimeout(total=5)


class Starting(aiohttp.ClientError):
    """The API server is not ready, and what it forbids is not its last word; nothing was done."""


class _Rest(RESTClientObject):
    """The official client's transport with connections that outlive a quiet minute."""

    def _create_connector(self) -> aiohttp.TCPConnector:
        return aiohttp.TCPConnector(
            limit=0, ssl=self.ssl_context, keepalive_timeout=KEEPALIVE_SECONDS
        )


@dataclass(frozen=True, slots=True)
class Access:
    """Address and credentials, for a frame (kopf) that opens connections of its own; paths name PEM files."""

    server: str
    ca_path: str | None
    token: str | None
    certificate_path: str | None
    private_key_path: str | None


ConnectFailed = config.ConfigException
"""There is no service account and no kubeconfig, or it cannot be read; `str()` says which."""


class Api:
    """Raw requests to the API server with the official client's addresses, certificates and tokens."""

    def __init__(self, client: ApiClient) -> None:
        """Keep the client, which typed API classes may share."""
        self.client = client

    async def send(
        self,
        method: str,
        path: str,
        *,
        timeout: aiohttp.ClientTimeout,
        query: Sequence[tuple[str, str]] = (),
        body: Any = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> aiohttp.ClientResponse:
        """Send one request and return the response as soon as its headers are there; the caller closes it.

        What is forbidden is asked twice (see the module).

        Raises:
            aiohttp.ClientError: the API server cannot be reached, or starts and forbids.
            TimeoutError: it did not answer in time.
        """
        prepared = await self.client.param_serialize(
            method,
            path,
            query_params=list(query),
            header_params={"Accept": accept, "Content-Type": content_type},
            body=body,
            auth_settings=["BearerToken"],
        )
        response = await self._call(prepared, timeout)
        if response.status != 403:
            return response
        response.release()
        look = await self.client.param_serialize("GET", "/readyz", auth_settings=["BearerToken"])
        async with await self._call(look, _STARTED) as ready:
            if ready.status != 200:
                raise Starting(f"it starts, and forbids {method} {path} before it knows who may")
        return await self._call(prepared, timeout)

    async def _call(
        self, prepared: tuple[Any, Any, Any, Any, Any], timeout: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        answer = await self.client.call_api(*prepared, _request_timeout=timeout)
        response: aiohttp.ClientResponse = answer.response
        return response

    async def access(self) -> Access:
        """Return what a connection needs now; a service account's token is read again, since it is replaced hourly."""
        configuration = self.client.configuration
        token = await configuration.get_api_key_with_prefix("BearerToken")
        return Access(
            server=str(configuration.host),
            ca_path=configuration.ssl_ca_cert,
            token=None if token is None else str(token).split()[-1],  # without its scheme word
            certificate_path=configuration.cert_file,
            private_key_path=configuration.key_file,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self.client.close()


async def connect(kubeconfig: str | None = None, context: str | None = None) -> Api:
    """Return a way to the API server.

    With *kubeconfig* or *context* the kubeconfig decides; else the service account of the pod; else the kubeconfig at
    its usual place.

    Raises:
        kubernetes.aio.config.ConfigException: none of them is there, or it cannot be read.
    """
    configuration = Configuration()
    if kubeconfig or context or not _load_service_account(configuration):
        await config.load_kube_config(
            config_file=kubeconfig,
            context=context,
            client_configuration=configuration,
            persist_config=False,
        )
    configuration.proxy = configuration.proxy or _proxy_for(str(configuration.host))
    # The client's own session looks for a proxy and for a netrc with every request, each in a thread: two hops on the
    # way of every wake.
    configuration.client_session_kwargs = {"trust_env": False}
    client = ApiClient(configuration)
    await client.rest_client.close()
    client.rest_client = _Rest(configuration)
    return Api(client)


def _proxy_for(server: str) -> str | None:
    """Return the proxy that the environment names for this server, as `HTTPS_PROXY` and `NO_PROXY` have it."""
    url = urlsplit(server)
    if url.hostname is None or proxy_bypass(url.hostname):
        return None
    return getproxies().get(url.scheme)


def _load_service_account(configuration: Configuration) -> bool:
    """Return whether this is a pod with a service account, and if so put it into *configuration*."""
    try:
        config.load_incluster_config(client_configuration=configuration)
    except config.ConfigException:
        return False
    return True
