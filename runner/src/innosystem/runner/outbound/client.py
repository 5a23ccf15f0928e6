"""A client for endpoints that job types name."""

import asyncio
import ssl
from collections.abc import Sequence
from typing import Final

import httpcore
import httpx

from innosystem.runner.errors import JobError
from innosystem.runner.outbound.addresses import Network
from innosystem.runner.outbound.allowed_hosts import AllowedHosts, host_of
from innosystem.runner.outbound.connections import CheckedConnections, Resolver, SystemResolver
from innosystem.runner.outbound.messages import OutboundRequest, OutboundResponse
from innosystem.runner.outbound.redirects import redirected

RESPONSE_BYTES_MAX: Final = 2 * 1024 * 1024
_REDIRECTS_MAX: Final = 5
_CONNECT_SECONDS: Final = 10.0
# Less than what servers wait before they close an idle connection (5 s for many), so that no request meets a close.
_IDLE_SECONDS: Final = 2.0
_IDLE_CONNECTIONS_MAX: Final = 100


class OutboundClient:
    """Calls endpoints whose host is allowed and whose address is permitted, at each redirect anew.

    Proxies and other settings of the environment have no effect, there are no cookies, certificates are checked, and
    responses are neither compressed nor larger than the limit.

    Args:
        hosts: The hosts that may be called.
        networks: Networks whose addresses may be called although they are not public.
        ca_file: Certificates in PEM of further authorities; empty for none.
        response_bytes_max: The largest body of a response.
        resolve: Resolves names; by default as the machine does.

    Raises:
        OSError: The file can't be read, or holds no certificates.
    """

    def __init__(
        self,
        hosts: AllowedHosts,
        *,
        networks: Sequence[Network] = (),
        ca_file: str = "",
        response_bytes_max: int = RESPONSE_BYTES_MAX,
        resolve: Resolver | None = None,
    ) -> None:
        self._hosts = hosts
        self._response_bytes_max = response_bytes_max
        self._resolver = SystemResolver()
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=_tls(ca_file),
            max_connections=None,
            max_keepalive_connections=_IDLE_CONNECTIONS_MAX,
            keepalive_expiry=_IDLE_SECONDS,
            network_backend=CheckedConnections(resolve or self._resolver, networks),
        )

    async def send(self, request: OutboundRequest, *, timeout_seconds: float) -> OutboundResponse:
        """Send a request, follow its redirects, and return the response, whatever its status.

        Args:
            request: The request.
            timeout_seconds: How long everything may take, from the first name that is resolved to the last byte.

        Raises:
            JobError: There is no response. Its type is HOST_NOT_ALLOWED, ADDRESS_NOT_ALLOWED, CONNECTION_FAILED,
                ENDPOINT_TIMEOUT, INVALID_REQUEST, REDIRECT_REFUSED, RESPONSE_TOO_LARGE or RESPONSE_COMPRESSED;
                `retryable` says whether another attempt may help.
        """
        try:
            async with asyncio.timeout(timeout_seconds):
                return await self._follow(request, timeout_seconds)
        except TimeoutError:
            raise JobError(f"No whole response within {timeout_seconds:g} s", type="ENDPOINT_TIMEOUT") from None

    async def _follow(self, request: OutboundRequest, seconds: float) -> OutboundResponse:
        for _ in range(_REDIRECTS_MAX + 1):
            response = await self._exchange(request, seconds)
            following = redirected(request, response)
            if following is None:
                return response
            request = following
        raise JobError(
            f"The endpoint redirects more than {_REDIRECTS_MAX} times", type="REDIRECT_REFUSED", retryable=False
        )

    async def _exchange(self, request: OutboundRequest, seconds: float) -> OutboundResponse:
        if not self._hosts.allows(request.url):
            raise JobError(f"RUNNER_HTTP_ALLOWED_HOSTS does not allow {_origin(request.url)}", type="HOST_NOT_ALLOWED")
        timeouts = {"connect": min(_CONNECT_SECONDS, seconds), "read": seconds, "write": seconds, "pool": seconds}
        try:
            async with self._pool.stream(
                request.method,
                httpcore.URL(
                    scheme=request.url.raw_scheme,
                    host=request.url.raw_host,
                    port=request.url.port,
                    target=request.url.raw_path,
                ),
                headers=_headers(request),
                content=request.content or None,
                extensions={"timeout": timeouts},
            ) as response:
                headers = httpx.Headers(response.headers)
                return OutboundResponse(response.status, headers, await self._body(response, headers))
        except httpcore.TimeoutException as exc:
            raise JobError(_said(exc, request), type="ENDPOINT_TIMEOUT") from exc
        except (httpcore.NetworkError, httpcore.RemoteProtocolError) as exc:
            raise JobError(_said(exc, request), type="CONNECTION_FAILED") from exc
        except httpcore.LocalProtocolError:
            # The error quotes the header, which may be a secret.
            raise JobError("The request is no valid HTTP", type="INVALID_REQUEST", retryable=False) from None

    async def _body(self, response: httpcore.Response, headers: httpx.Headers) -> bytes:
        """Read the body as it is sent: what is compressed could grow without bound."""
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise JobError("The endpoint compresses responses unasked", type="RESPONSE_COMPRESSED", retryable=False)
        body = bytearray()
        async for part in response.aiter_stream():
            body += part
            if len(body) > self._response_bytes_max:
                raise JobError(
                    f"The response has more than {self._response_bytes_max} bytes",
                    type="RESPONSE_TOO_LARGE",
                    retryable=False,
                )
        return bytes(body)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._pool.aclose()
        self._resolver.close()


def _tls(ca_file: str) -> ssl.SSLContext:
    context = httpx.create_ssl_context(trust_env=False)
    if ca_file:
        context.load_verify_locations(cafile=ca_file)
    return context


def _headers(request: OutboundRequest) -> list[tuple[bytes, bytes]]:
    headers = httpx.Headers({**request.headers, **request.secret_headers})
    headers["Host"] = request.url.netloc.decode("ascii")
    headers["Accept-Encoding"] = "identity"
    if request.content or request.method != "GET":
        headers["Content-Length"] = str(len(request.content))
    return headers.raw


def _origin(url: httpx.URL) -> str:
    return f"{url.scheme}://{url.netloc.decode('ascii')}"


def _said(exc: Exception, request: OutboundRequest) -> str:
    return f"The call of {host_of(request.url)} failed: {str(exc) or type(exc).__name__}"
