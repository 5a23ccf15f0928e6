"""List RPCs: their one body, from the request to the messages of a page."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Protocol, TypeVar

from google.protobuf.message import Message

from services.kit.query.listing import Listing, Narrowing
from services.kit.query.page import ListQuery, Page, PageTokens
from services.kit.query.resource import Resource
from services.kit.rpc.responses import RESPONSE_BYTES_MAX

T = TypeVar("T")
M = TypeVar("M", bound=Message)

# The overhead of an item in a list: its tag and its length.
_FRAMING_BYTES = 6


class ListRequest(Protocol):
    """The fields that the requests of all list RPCs share."""

    filter: str
    order_by: str
    page_size: int
    page_token: str


class ListRpc:
    """One list RPC of a resource.

        notes, token = await self._notes.serve(request, NOT_NARROWED, self._service.list_page, note_message)
        return pb.ListNotesResponse(notes=notes, next_page_token=token)

    Args:
        resource: The resource that is listed.
        tokens: Signs the page tokens.

    Attributes:
        listing: The list's queries and page tokens, for RPCs that select by a filter and return no list.
    """

    def __init__(self, resource: Resource, tokens: PageTokens) -> None:
        self.listing = Listing(resource, tokens)

    async def serve(
        self,
        request: ListRequest,
        narrowing: Narrowing,
        read: Callable[[ListQuery], Awaitable[Page[T]]],
        message: Callable[[T], M],
        parameters: Mapping[str, str] | None = None,
    ) -> tuple[list[M], str]:
        """Parse the request, read the page, and build its messages.

        Args:
            request: The request.
            narrowing: The entities that exist for the caller.
            read: Reads a page.
            message: Builds the message of an entity.
            parameters: The request's other parameters, to which page tokens are bound.

        Returns:
            The messages, and the token of the next page; empty if there is none.

        Raises:
            InvalidField: If the page size is negative.
            InvalidFilter: If the filter is malformed.
            InvalidOrderBy: If the order is malformed.
            InvalidPageToken: If the token belongs to another list or to other parameters.
        """
        query = self.query(request, narrowing, parameters)
        return self.messages(query, await read(query), message)

    def query(
        self, request: ListRequest, narrowing: Narrowing, parameters: Mapping[str, str] | None = None
    ) -> ListQuery:
        """Parse the request, as `serve` does."""
        return self.listing.query(
            filter=request.filter,
            order_by=request.order_by,
            page_size=request.page_size,
            page_token=request.page_token,
            narrowing=narrowing,
            parameters=parameters,
        )

    def messages(
        self, query: ListQuery, page: Page[T], message: Callable[[T], M], bytes_max: int = RESPONSE_BYTES_MAX
    ) -> tuple[list[M], str]:
        """Build the messages of a page: as many as fit into a response, at least one.

        Args:
            query: The query.
            page: The page that was read.
            message: Builds the message of an entity.
            bytes_max: The largest size of all messages together.

        Returns:
            The messages, and the token of the next page; empty if there is none.
        """
        messages: list[M] = []
        size = 0
        for item in page.items:
            built = message(item)
            size += built.ByteSize() + _FRAMING_BYTES
            if size > bytes_max and messages:
                kept = len(messages)
                page = Page.cut(page.items[: kept + 1], replace(query, page_size=kept))
                break
            messages.append(built)
        return messages, self.listing.next_page_token(query, page)
