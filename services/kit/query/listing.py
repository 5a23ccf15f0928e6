"""The parameters of a list RPC: the one place that combines filter, order and page."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.kit.errors import DomainError, InvalidField
from services.kit.query.filter import parse_filter
from services.kit.query.order import parse_order_by
from services.kit.query.page import (
    PAGE_SIZE_DEFAULT,
    PAGE_SIZE_MAX,
    ListQuery,
    Page,
    PageTokens,
)
from services.kit.query.resource import Ordering, Resource
from services.kit.query.specification import ALWAYS, Specification, all_of


@dataclass(frozen=True)
class Narrowing:
    """The entities that exist for the caller of a list, whatever the filter.

    Attributes:
        specification: The condition that they meet.
        key: What page tokens are bound to: a token of another caller's list is refused.
    """

    specification: Specification = ALWAYS
    key: str = ""


#: All entities exist for all callers of a list.
NOT_NARROWED = Narrowing()


@dataclass(frozen=True)
class Listing:
    """The queries and page tokens of one list; `services.kit.rpc.list_rpc` serves it as an RPC.

    Attributes:
        resource: The resource that is listed.
        tokens: Signs the page tokens.
    """

    resource: Resource
    tokens: PageTokens

    def query(
        self,
        *,
        filter: str = "",
        order_by: str = "",
        page_size: int = 0,
        page_token: str = "",
        scope: Specification = ALWAYS,
        narrowing: Narrowing = NOT_NARROWED,
        parameters: Mapping[str, str] | None = None,
        within: str = "",
    ) -> ListQuery:
        """Parse the parameters.

        Args:
            filter: The caller's filter (AIP-160).
            order_by: The caller's order (AIP-132).
            page_size: The size of the page; 0 means 50, more than 1000 means 1000.
            page_token: The `next_page_token` of the previous page, or empty.
            scope: A condition besides the filter, such as the children of a parent.
            narrowing: The entities that exist for the caller.
            parameters: The request's other parameters, including those of the scope, to which page
                tokens are bound.
            within: The path of the parameters in the request, if they are nested.

        Returns:
            The query of one page, for a repository.

        Raises:
            InvalidField: If the page size is negative.
            InvalidFilter: If the filter is malformed.
            InvalidOrderBy: If the order is malformed.
            InvalidPageToken: If the token belongs to another list or to other parameters.
        """
        try:
            return self._query(
                page_token, scope, narrowing, parameters or {}, filter=filter, order_by=order_by, page_size=page_size
            )
        except DomainError as error:
            raise error.within(within) from error.__cause__

    def _query(
        self,
        page_token: str,
        scope: Specification,
        narrowing: Narrowing,
        parameters: Mapping[str, str],
        *,
        filter: str,
        order_by: str,
        page_size: int,
    ) -> ListQuery:
        size = _page_size(page_size)
        specification = parse_filter(filter, self.resource)
        ordering = parse_order_by(order_by, self.resource)
        # Tokens of callers to whom everything exists are as they were in earlier releases.
        bound = {**parameters, "narrowing": narrowing.key} if narrowing.key else parameters
        binding = _binding(self.resource.name, filter, ordering, bound)
        return ListQuery(
            ordering=ordering,
            specification=all_of(narrowing.specification, scope, specification),
            page_size=size,
            cursor=self.tokens.decode(page_token, ordering, binding),
            binding=binding,
            narrowing=narrowing.specification,
        )

    def next_page_token(self, query: ListQuery, page: Page[Any]) -> str:
        """Return the token of the next page; empty after the last."""
        return self.tokens.encode(page.next_cursor, query.ordering, query.binding)


def _page_size(asked: int) -> int:
    if asked < 0:
        raise InvalidField.of("page_size", "is negative; 0 means the default")
    return min(asked or PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX)


def _binding(name: str, text: str, ordering: Ordering, parameters: Mapping[str, str]) -> bytes:
    # The effective order, not the text: a release with another default order invalidates old tokens.
    bound = [name, text, [str(order) for order in ordering], sorted(parameters.items())]
    return json.dumps(bound, separators=(",", ":")).encode()
