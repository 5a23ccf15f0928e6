"""A caller that plants every ID of another tenant, and every one that it learns, in every field finds nothing of it."""

import base64
import binascii
import re
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from innosystem.customers.v1 import customer_service_pb2 as customers
from innosystem.jobs.v1 import job_service_pb2 as jobs
from innosystem.wallets.v1 import wallet_service_pb2 as wallets
from tests.integration.tenants.test_matrix import METHODS
from tests.support.rpc.jobs_stack import JobsStack
from tests.support.rpc.tenant_requests import REQUESTS
from tests.support.rpc.tenants import B_CENTS, QUEUE_Y, TenantsWorld

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
# What B was charged is less than a hundredth of it: all sums of B begin like that.
_AMOUNTS = re.compile(rf"\b{str(B_CENTS)[:5]}\d{{4}}\b")
_LEARNED_MAX = 20


@pytest.fixture(scope="module")
def written() -> set[str]:
    """Return the texts that callers have put in place of what they wrote, such as the IDs of their own new jobs."""
    return set()


def planted(request: Message, text: str) -> Iterator[Message]:
    """Yield the request with a text in place of each string in it, one at a time."""
    for path in paths(request):
        copy = deepcopy(request)
        for place in (text, f'id = "{text}"', f'customer_id = "{text}"') if path[-1] == "filter" else (text,):
            plant(copy, path, place)
            yield copy


def paths(message: Message) -> Iterator[tuple[Any, ...]]:
    """Yield the paths of all strings of a message, those of its type that are empty as well."""
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.type == field.TYPE_STRING:
            yield (field.name,)
        elif field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        elif field.is_repeated:
            yield from ((field.name, at, *path) for at, one in enumerate(value) for path in paths(one))
        elif message.HasField(field.name):
            yield from ((field.name, *path) for path in paths(value))


def plant(message: Any, path: tuple[Any, ...], text: str) -> None:
    for step in path[:-1]:
        message = message[step] if isinstance(step, int) else getattr(message, step)
    field = message.DESCRIPTOR.fields_by_name[path[-1]]
    if field.is_repeated:
        message.ClearField(path[-1])
        getattr(message, path[-1]).append(text)
    else:
        setattr(message, path[-1], text)


def told(world: JobsStack, name: str, request: Message) -> str:
    """Return all that a caller gets to see of a call, with what page tokens hold."""
    try:
        response = world.method(name)(request)
        if METHODS[name].server_streaming:
            call, response = response, next(response)
            call.cancel()
    except grpc.RpcError as caught:
        pairs = [(one.key, one.value) for one in caught.trailing_metadata()]
        texts = [one if isinstance(one, str) else one.decode(errors="replace") for pair in pairs for one in pair]
        return " ".join([str(caught.details()), *texts])
    token = getattr(response, "next_page_token", "")
    try:
        opened = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode(errors="replace")
    except binascii.Error:
        opened = ""
    return f"{response} {token} {opened}"


def belongings_of_b(world: TenantsWorld) -> list[Message]:
    """Return the state of all that B has."""
    of = f'customer_id = "{world.b.customer_id}"'
    of_wallet = f'wallet_id = "{world.b.wallet_id}"'
    holds = world.anyone.wallets.ListHolds(wallets.ListHoldsRequest(filter=of_wallet, page_size=1000))
    holds.ClearField("now")
    return [
        world.anyone.customers.GetCustomer(customers.GetCustomerRequest(customer_id=world.b.customer_id)),
        world.anyone.jobs.ListJobs(jobs.ListJobsRequest(filter=of, page_size=1000)),
        world.anyone.wallets.ListWallets(wallets.ListWalletsRequest(filter=of)),
        world.anyone.wallets.ListTransactions(wallets.ListTransactionsRequest(wallet_id=world.b.wallet_id)),
        holds,
    ]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("where", "actor"),
    [
        ("processes", "client/a"),
        pytest.param("processes", "key/read+submit", marks=pytest.mark.slow),
        ("processes", "runner/x"),
        # No credential binds such callers yet; the services have to treat them as bound nevertheless.
        ("world", "operator/a"),
        ("world", "service/a"),
    ],
)
def test_a_bound_caller_finds_and_changes_nothing_of_others(
    request: pytest.FixtureRequest, where: str, actor: str, written: set[str]
) -> None:
    world: TenantsWorld = request.getfixturevalue(where)
    stack, secrets = world.as_caller(actor), world.b.texts()
    assert len(secrets) > 300
    before = belongings_of_b(world)
    few = [getattr(world.b, name) for name in vars(world.b) if name not in ("others", "job_type_id", "queue")]
    learned: dict[str, None] = {}
    tokens = [
        world.as_caller("client/b").jobs.ListJobs(jobs.ListJobsRequest(page_size=1)).next_page_token,
        world.as_caller("client/b").wallets.ListHolds(wallets.ListHoldsRequest(page_size=1)).next_page_token,
    ]

    def look(name: str, text: str) -> None:
        for asked in planted(REQUESTS[name](world.a), text):
            shown, named = told(stack, name, asked), str(asked)
            found = {one for one in secrets - written if one in shown and one not in named}
            assert not found, (name, asked, found)
            assert not _AMOUNTS.search(shown), (name, asked, shown)
            learned.update(dict.fromkeys(_UUID.findall(shown)))
        if name not in reads:
            written.add(text)

    reads = [name for name in REQUESTS if re.search(r"\.(Get|List|BatchGet|Watch)", name)]
    for name in (*reads, *(one for one in REQUESTS if one not in reads)):
        for text in (*few, *tokens, *world.b.others[:4], QUEUE_Y):
            look(name, text)
    own = [one for one in learned if one not in secrets]
    assert own
    for name in REQUESTS:
        for text in own[:: len(own) // _LEARNED_MAX + 1]:
            look(name, text)
    assert belongings_of_b(world) == before
