"""Reads the parameters of a list RPC: the one place where filter, order and page come together."""

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
from services.kit.query.specification import ALWAYS, Specification


@dataclass(frozen=True)
class Listing:
    """The queries and page tokens of one list; `services.kit.rpc.list_rpc` serves it as an RPC.

    Attributes:
        resource: What is listed.
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
        parameters: Mapping[str, str] | None = None,
        within: str = "",
    ) -> ListQuery:
        """Reads the parameters.

        Args:
            filter: The caller's filter (AIP-160).
            order_by: The caller's order (AIP-132).
            page_size: How many; 0 for 50, more than 1000 for 1000.
            page_token: The `next_page_token` of the page before, or empty.
            scope: What is listed at all, whatever the filter says: the children of a parent, the
                caller's own.
            parameters: The request's other parameters, and what the scope was made from: page
                tokens are bound to them.
            within: Where the parameters stand in the request, if not at its top.

        Returns:
            What a repository needs for one page.

        Raises:
            InvalidField: The page size is negative.
            InvalidFilter: The filter is wrong.
            InvalidOrderBy: The order is wrong.
            InvalidPageToken: The token is not one of this list with these parameters.
        """
        try:
            return self._query(
                page_token, scope, parameters or {}, filter=filter, order_by=order_by, page_size=page_size
            )
        except DomainError as error:
            raise error.within(within) from error.__cause__

    def _query(
        self,
        page_token: str,
        scope: Specification,
        parameters: Mapping[str, str],
        *,
        filter: str,
        order_by: str,
        page_size: int,
    ) -> ListQuery:
        size = _page_size(page_size)
        specification = parse_filter(filter, self.resource)
        ordering = parse_order_by(order_by, self.resource)
        binding = _binding(self.resource.name, filter, ordering, parameters)
        return ListQuery(
            ordering=ordering,
            specification=scope & specification,
            page_size=size,
            cursor=self.tokens.decode(page_token, ordering, binding),
            binding=binding,
        )

    def next_page_token(self, query: ListQuery, page: Page[Any]) -> str:
        """The token that continues after this page; empty after the last."""
        return self.tokens.encode(page.next_cursor, query.ordering, query.binding)


def _page_size(asked: int) -> int:
    if asked < 0:
        raise InvalidField.of("page_size", "is negative; 0 means the default")
    return min(asked or PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX)


def _binding(name: str, text: str, ordering: Ordering, parameters: Mapping[str, str]) -> bytes:
    # The order in force, not the text: a default order that changes with a release makes old tokens
    # invalid.
    bound = [name, text, [str(order) for order in ordering], sorted(parameters.items())]
    return json.dumps(bound, separators=(",", ":")).encode()
