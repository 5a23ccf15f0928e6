"""Where a redirect leads, and what of the request goes there."""

from dataclasses import replace
from typing import Final

import httpx

from innosystem.runner.errors import JobError
from innosystem.runner.outbound.allowed_hosts import origin_of
from innosystem.runner.outbound.messages import OutboundRequest, OutboundResponse

_SEE_OTHER: Final = 303
_REDIRECTS: Final = frozenset({301, 302, _SEE_OTHER, 307, 308})
_KEEP_METHOD: Final = frozenset({307, 308})


def redirected(request: OutboundRequest, response: OutboundResponse) -> OutboundRequest | None:
    """Return the request that follows a redirect; None if the response is none.

    Another origin gets no secrets. The body is never dropped silently: only 303, which says that the work is done and
    its result is elsewhere, turns a request into GET.

    Raises:
        JobError: The redirect can't be followed.
    """
    location = response.headers.get("location")
    if response.status not in _REDIRECTS or not location:
        return None
    try:
        url = request.url.join(location).copy_with(fragment=None)
    except httpx.InvalidURL as exc:
        raise _refused(response, f"to no URL: {exc}") from None
    if url.scheme not in ("https", "http") or not url.host or url.userinfo:
        raise _refused(response, "to no plain HTTP URL")
    if request.url.scheme == "https" and url.scheme == "http":
        raise _refused(response, "from HTTPS to HTTP")
    following = replace(request, url=url)
    if origin_of(url) != origin_of(request.url):
        following = replace(following, secret_headers={})
    if request.method == "GET" or response.status in _KEEP_METHOD:
        return following
    if response.status != _SEE_OTHER:
        raise _refused(response, f"that would drop the body of {request.method}")
    return replace(following, method="GET", content=b"", headers=_without_body(following))


def _without_body(request: OutboundRequest) -> dict[str, str]:
    return {name: value for name, value in request.headers.items() if not name.lower().startswith("content-")}


def _refused(response: OutboundResponse, why: str) -> JobError:
    return JobError(
        f"The endpoint redirects with status {response.status} {why}", type="REDIRECT_REFUSED", retryable=False
    )
