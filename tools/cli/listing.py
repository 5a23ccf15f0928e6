"""Reads lists page by page."""

from collections.abc import Awaitable, Callable
from typing import Any

_PAGE_SIZE_MAX = 1000


async def collect(call: Callable[[Any], Awaitable[Any]], request: Any, field: str, limit: int) -> list[Any]:
    """Asks for pages until there are enough entries, or no more.

    Args:
        call: The method of a stub that lists.
        request: Its request. The size and the token of the page are set here.
        field: The field of the answer that holds the entries.
        limit: How many entries are wanted at most.
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
