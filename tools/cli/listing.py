"""Lists, read page by page."""

from collections.abc import Awaitable, Callable
from typing import Any

_PAGE_SIZE_MAX = 1000


async def collect(call: Callable[[Any], Awaitable[Any]], request: Any, field: str, limit: int) -> list[Any]:
    """Read pages until the limit or the end of the list.

    Args:
        call: The list method of a stub.
        request: Its request, whose page size and page token are set here.
        field: The field of the response with the entries.
        limit: The largest number of entries.
    """
    found: list[Any] = []
    request.page_size = min(limit, _PAGE_SIZE_MAX)
    while len(found) < limit:
        response = await call(request)
        found += getattr(response, field)
        if not response.next_page_token:
            break
        request.page_token = response.next_page_token
    return found[:limit]
