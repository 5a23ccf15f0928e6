"""List RPCs: pages of messages that fit into a response, and tokens that lose nothing."""

from uuid import UUID

import pytest

from innosystem.customers.v1.customer_pb2 import Customer
from innosystem.customers.v1.customer_service_pb2 import ListCustomersRequest
from services.kit.errors import InvalidPageToken
from services.kit.query.listing import NOT_NARROWED
from services.kit.query.memory import apply
from services.kit.query.page import ListQuery, Page, PageTokens
from services.kit.rpc.list_rpc import ListRpc
from tests.unit.kit.query.example import PARCELS, Parcel, parcel

RPC = ListRpc(PARCELS, PageTokens(b"a key that is only for the tests"))
MANY = [parcel(id=UUID(int=number), name="x" * 100 * number) for number in range(8)]


def message(one: Parcel) -> Customer:
    return Customer(id=str(one.id), name=one.name)


async def read(query: ListQuery) -> Page[Parcel]:
    return apply(MANY, query)


async def test_a_request_is_served_page_by_page() -> None:
    request = ListCustomersRequest(filter="name != ''", order_by="id", page_size=3)
    sizes = []
    while True:
        messages, token = await RPC.serve(request, NOT_NARROWED, read, message)
        sizes.append(len(messages))
        if not token:
            break
        request.page_token = token
    assert sizes == [3, 3, 1]


async def test_a_token_is_bound_to_the_other_parameters() -> None:
    request = ListCustomersRequest(page_size=3)
    _, request.page_token = await RPC.serve(request, NOT_NARROWED, read, message, {"parent": "1"})
    with pytest.raises(InvalidPageToken):
        await RPC.serve(request, NOT_NARROWED, read, message, {"parent": "2"})


@pytest.mark.parametrize("bytes_max", [1, 400, 1000, 10_000])
async def test_a_page_ends_before_its_messages_exceed_the_limit_and_the_next_page_continues(bytes_max: int) -> None:
    request = ListCustomersRequest(order_by="id")
    seen: list[str] = []
    while True:
        query = RPC.query(request, NOT_NARROWED)
        messages, token = RPC.messages(query, await read(query), message, bytes_max)
        assert len(messages) == 1 or sum(one.ByteSize() for one in messages) <= bytes_max
        seen += [one.id for one in messages]
        if not token:
            break
        request.page_token = token
    assert seen == [str(one.id) for one in MANY]
