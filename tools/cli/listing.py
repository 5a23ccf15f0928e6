"""Lists, read page by page."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

_PAGE_SIZE_MAX: Final = 1000


class Found(list[Any]):
    """The entries of a list.

    Attributes:
        note: For people, what the limit has left out; empty if these are all.
    """

    note = ""


async def collect(
    call: Callable[[Any], Awaitable[Any]],
    request: Any,
    field: str,
    limit: int,
    *,
    option: str = "--limit",
    count: bool = True,
) -> Found:
    """Read pages until the limit or the end of the list.

    Args:
        call: The list method of a stub.
        request: Its request, whose page size and page token are set here.
        field: The field of the response with the entries.
        limit: The largest number of entries.
        option: The option that sets the limit.
        count: Whether to count those that are left out, by one further page; not for pages that are large.
    """
    found = Found()
    while len(found) < limit:
        request.page_size = min(limit - len(found), _PAGE_SIZE_MAX)
        response = await call(request)
        found += getattr(response, field)
        request.page_token = response.next_page_token
        if not request.page_token:
            return found
    if limit and (number := await _total(call, request, field, len(found), count=count)):
        found.note = f"{number}; {option} {2 * limit} for more"
    return found


async def _total(call: Callable[[Any], Awaitable[Any]], request: Any, field: str, shown: int, *, count: bool) -> str:
    """Describe what part of a list is shown. No response has its length, so at most one further page is counted."""
    if not count:
        return f"{shown:,} shown, and there may be more"
    request.page_size = _PAGE_SIZE_MAX
    response = await call(request)
    further = len(getattr(response, field))
    if response.next_page_token:
        return f"{shown:,} of more than {shown + further:,} shown"
    # After the last entry that matches, a page may end before the service knows that no further one does.
    return f"{shown:,} of {shown + further:,} shown" if further else ""
