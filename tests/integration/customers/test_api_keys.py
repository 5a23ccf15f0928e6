"""The API keys of CustomerService over gRPC on PostgreSQL."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from google.protobuf.duration_pb2 import Duration

from innosystem.customers.v1 import customer_service_pb2 as pb
from innosystem.customers.v1.customer_pb2 import ApiKey, Customer
from innosystem.customers.v1.customer_service_pb2_grpc import CustomerServiceStub
from innosystem.options.v1 import options_pb2
from services.customers.rules.api_keys import SecretKey
from tests.support.rpc.customer_calls import created, get, request
from tests.support.rpc.refusals import Refused, Stored

SERVICE = "customers"
HOUR = Duration(seconds=3600)
READ, SUBMIT = options_pb2.SCOPE_READ, options_pb2.SCOPE_SUBMIT
CALLERS = 20


def rotation(customer: Customer, **values: Any) -> pb.RotateApiKeyRequest:
    return pb.RotateApiKeyRequest(**{"customer_id": customer.id, "api_key_id": str(uuid4()), **values})


def keys(stub: CustomerServiceStub, customer: Customer, **values: Any) -> list[ApiKey]:
    return list(stub.ListApiKeys(pb.ListApiKeysRequest(customer_id=customer.id, **values)).api_keys)


def revoke(stub: CustomerServiceStub, key: ApiKey) -> ApiKey:
    return stub.RevokeApiKey(pb.RevokeApiKeyRequest(customer_id=key.customer_id, api_key_id=key.id)).key


def owner(stub: CustomerServiceStub, api_key: str) -> str:
    return stub.ResolveApiKey(pb.ResolveApiKeyRequest(api_key=api_key)).customer.id


def test_the_key_itself_is_stored_nowhere(stub: CustomerServiceStub, stored: Stored) -> None:
    key = stub.CreateCustomer(request()).api_key

    assert key not in str(stored.rows())
    assert owner(stub, key)


def test_a_rotated_key_replaces_the_old_one_at_once(stub: CustomerServiceStub, refused: Refused) -> None:
    first = stub.CreateCustomer(request())

    second = stub.RotateApiKey(rotation(first.customer))

    assert second.api_key.startswith(second.customer.api_key_prefix)
    assert owner(stub, second.api_key) == first.customer.id
    refused(stub.ResolveApiKey, pb.ResolveApiKeyRequest(api_key=first.api_key), "BAD_CREDENTIALS")


def test_an_old_key_works_until_its_overlap_ends(stub: CustomerServiceStub, refused: Refused, stored: Stored) -> None:
    first = stub.CreateCustomer(request())
    customer_id = first.customer.id

    stub.RotateApiKey(rotation(first.customer, overlap=HOUR))
    assert owner(stub, first.api_key) == customer_id

    stored.execute(
        "UPDATE api_keys SET expires_at = now() WHERE customer_id = %s AND expires_at IS NOT NULL", UUID(customer_id)
    )
    refused(stub.ResolveApiKey, pb.ResolveApiKeyRequest(api_key=first.api_key), "BAD_CREDENTIALS")


@pytest.mark.parametrize("overlap", [HOUR, Duration()], ids=["with an overlap", "without one"])
def test_a_second_rotation_within_the_overlap_leaves_the_key_in_use_its_time(
    stub: CustomerServiceStub, overlap: Duration
) -> None:
    first = stub.CreateCustomer(request())
    stub.RotateApiKey(pb.RotateApiKeyRequest(customer_id=first.customer.id, overlap=HOUR))

    last = stub.RotateApiKey(pb.RotateApiKeyRequest(customer_id=first.customer.id, overlap=overlap))

    assert owner(stub, first.api_key) == owner(stub, last.api_key) == first.customer.id


def test_a_repeated_rotation_makes_no_further_key(stub: CustomerServiceStub, stored: Stored, refused: Refused) -> None:
    customer, other = created(stub), created(stub)
    asked = rotation(customer, overlap=HOUR)
    first = stub.RotateApiKey(asked)
    assert (first.key.id, first.key.prefix, first.replayed) == (
        asked.api_key_id,
        first.customer.api_key_prefix,
        False,
    )

    with stored.unchanged():
        again = stub.RotateApiKey(asked)
    assert again == pb.RotateApiKeyResponse(customer=first.customer, key=first.key, replayed=True)

    asked.overlap.seconds += 1
    assert refused(stub.RotateApiKey, asked, "IDEMPOTENCY_KEY_REUSED").metadata == {"fields": "overlap"}
    moved = rotation(other, overlap=HOUR, api_key_id=asked.api_key_id)
    assert refused(stub.RotateApiKey, moved, "IDEMPOTENCY_KEY_REUSED").metadata == {"fields": "customer_id"}
    unknown = rotation(Customer(id=str(uuid4())), api_key_id=asked.api_key_id)
    refused(stub.RotateApiKey, unknown, "IDEMPOTENCY_KEY_REUSED")


def test_rotations_under_one_id_at_the_same_moment_make_one_key(stub: CustomerServiceStub) -> None:
    customer = created(stub)
    asked = rotation(customer)
    with ThreadPoolExecutor(CALLERS) as pool:
        responses = list(pool.map(stub.RotateApiKey, [asked] * CALLERS))
    assert len({one.api_key for one in responses} - {""}) == 1
    assert sum(not one.replayed for one in responses) == 1
    assert len(keys(stub, customer)) == 2


def new_key(customer: Customer, *scopes: int, **values: Any) -> pb.CreateApiKeyRequest:
    given: dict[str, Any] = {"customer_id": customer.id, "api_key_id": str(uuid4()), "name": "backend", **values}
    return pb.CreateApiKeyRequest(**given, scopes=scopes or [SUBMIT])  # type: ignore[arg-type] # they are numbers


def test_a_customer_has_several_keys_with_names_and_scopes_of_their_own(stub: CustomerServiceStub) -> None:
    first = stub.CreateCustomer(request())
    backend = stub.CreateApiKey(new_key(first.customer, SUBMIT, READ))
    reports = stub.CreateApiKey(new_key(first.customer, READ, name="reports", ttl=HOUR))

    assert not backend.key.HasField("expires_at")
    lasts = reports.key.expires_at.ToDatetime() - reports.key.created_at.ToDatetime()
    assert abs(lasts - timedelta(hours=1)) < timedelta(seconds=10)
    described = [(one.name, list(one.scopes)) for one in keys(stub, first.customer)]
    assert described == [("reports", [READ]), ("backend", [READ, SUBMIT]), ("", [READ, SUBMIT])]
    for secret, key in ((backend.api_key, backend.key), (reports.api_key, reports.key)):
        resolved = stub.ResolveApiKey(pb.ResolveApiKeyRequest(api_key=secret))
        assert (resolved.customer, resolved.key) == (first.customer, key)
    assert owner(stub, first.api_key) == first.customer.id
    assert [one.name for one in keys(stub, first.customer, filter='name = "re*"')] == ["reports"]


def test_a_rotation_leaves_the_keys_with_a_name_as_they_are(stub: CustomerServiceStub, refused: Refused) -> None:
    first = stub.CreateCustomer(request())
    backend = stub.CreateApiKey(new_key(first.customer))

    rotated = stub.RotateApiKey(rotation(first.customer))

    refused(stub.ResolveApiKey, pb.ResolveApiKeyRequest(api_key=first.api_key), "BAD_CREDENTIALS")
    assert owner(stub, backend.api_key) == owner(stub, rotated.api_key) == first.customer.id
    assert [one for one in keys(stub, first.customer) if one.name] == [backend.key]
    assert rotated.customer.api_key_prefix == rotated.key.prefix
    assert list(rotated.key.scopes) == [READ, SUBMIT]


def test_a_key_with_a_name_ends_by_its_ttl_or_when_it_is_revoked(
    stub: CustomerServiceStub, refused: Refused, stored: Stored
) -> None:
    customer = created(stub)
    short, lasting = stub.CreateApiKey(new_key(customer, ttl=HOUR)), stub.CreateApiKey(new_key(customer, ttl=HOUR))
    present = get(stub, customer.id)

    stored.execute("UPDATE api_keys SET expires_at = now() WHERE id = %s", UUID(short.key.id))
    refused(stub.ResolveApiKey, pb.ResolveApiKeyRequest(api_key=short.api_key), "BAD_CREDENTIALS")
    revoked = revoke(stub, lasting.key)
    refused(stub.ResolveApiKey, pb.ResolveApiKeyRequest(api_key=lasting.api_key), "BAD_CREDENTIALS")
    assert revoked.expires_at.ToDatetime() < lasting.key.expires_at.ToDatetime()
    assert get(stub, customer.id) == present


def test_a_repeated_creation_makes_no_further_key(stub: CustomerServiceStub, stored: Stored, refused: Refused) -> None:
    customer, other = created(stub), created(stub)
    asked = new_key(customer, READ, ttl=HOUR)
    first = stub.CreateApiKey(asked)

    with stored.unchanged():
        again = stub.CreateApiKey(asked)
    assert again == pb.CreateApiKeyResponse(key=first.key, replayed=True)

    for field, changed in (
        ("customer_id", new_key(other, READ, ttl=HOUR)),
        ("name", new_key(customer, READ, ttl=HOUR, name="reports")),
        ("scopes", new_key(customer, READ, SUBMIT, ttl=HOUR)),
        ("ttl", new_key(customer, READ)),
    ):
        changed.api_key_id = asked.api_key_id
        assert refused(stub.CreateApiKey, changed, "IDEMPOTENCY_KEY_REUSED").metadata == {"fields": field}


def test_neither_of_rotation_and_creation_takes_an_id_of_the_other(stub: CustomerServiceStub, refused: Refused) -> None:
    customer = created(stub)
    rotated, named = rotation(customer), new_key(customer)
    stub.RotateApiKey(rotated)
    stub.CreateApiKey(named)
    rotated.api_key_id, named.api_key_id = named.api_key_id, rotated.api_key_id
    for method, asked in ((stub.RotateApiKey, rotated), (stub.CreateApiKey, named)):
        assert refused(method, asked, "IDEMPOTENCY_KEY_REUSED").metadata == {"fields": "api_key_id"}


def test_creations_under_one_id_at_the_same_moment_make_one_key(stub: CustomerServiceStub) -> None:
    asked = new_key(created(stub))
    with ThreadPoolExecutor(CALLERS) as pool:
        responses = list(pool.map(stub.CreateApiKey, [asked] * CALLERS))
    assert len({one.api_key for one in responses} - {""}) == 1
    assert len({one.key.id for one in responses}) == 1


def test_what_is_wrong_with_a_new_key_is_named(stub: CustomerServiceStub, refused: Refused) -> None:
    customer = created(stub)
    refused.field(stub.CreateApiKey, pb.CreateApiKeyRequest(customer_id=customer.id), "name", "scopes")
    refused.field(stub.CreateApiKey, new_key(customer, READ, READ), "scopes")
    refused.field(stub.CreateApiKey, new_key(customer, options_pb2.SCOPE_UNSPECIFIED), "scopes[0]")
    refused.field(stub.CreateApiKey, new_key(customer, 9), "scopes[0]")
    refused.field(stub.CreateApiKey, new_key(customer, name="x" * 101), "name")
    for ttl in (Duration(), Duration(seconds=-1), Duration(seconds=3651 * 86400)):
        refused.field(stub.CreateApiKey, new_key(customer, ttl=ttl), "ttl")


def test_all_keys_of_a_customer_are_listed_the_newest_first(stub: CustomerServiceStub, refused: Refused) -> None:
    customer, other = created(stub), created(stub)
    second = stub.RotateApiKey(rotation(customer, overlap=HOUR)).key
    third = stub.RotateApiKey(rotation(customer)).key

    listed = keys(stub, customer)

    assert [one.id for one in listed[:2]] == [third.id, second.id]
    assert [one.HasField("expires_at") for one in listed] == [False, True, True]
    first = listed[2]
    assert first.prefix == customer.api_key_prefix
    assert timedelta(minutes=59) < first.expires_at.ToDatetime() - third.created_at.ToDatetime() < timedelta(minutes=61)
    assert {one.customer_id for one in listed} == {customer.id}
    assert [one.id for one in keys(stub, customer, filter=f'prefix = "{second.prefix}"')] == [second.id]
    page = stub.ListApiKeys(pb.ListApiKeysRequest(customer_id=customer.id, page_size=1))
    next_page = pb.ListApiKeysRequest(customer_id=customer.id, page_token=page.next_page_token)
    assert [one.id for one in stub.ListApiKeys(next_page).api_keys] == [second.id, first.id]
    next_page.customer_id = other.id
    refused(stub.ListApiKeys, next_page, "INVALID_PAGE_TOKEN")
    refused(stub.ListApiKeys, pb.ListApiKeysRequest(customer_id=other.id, filter="hash = 1"), "INVALID_FILTER")
    refused(stub.ListApiKeys, pb.ListApiKeysRequest(customer_id=other.id, order_by="expires_at"), "INVALID_ORDER_BY")


def test_a_revoked_key_ends_at_once_and_the_others_go_on(
    stub: CustomerServiceStub, stored: Stored, refused: Refused
) -> None:
    first = stub.CreateCustomer(request())
    second = stub.RotateApiKey(rotation(first.customer, overlap=HOUR))
    [first_key] = [one for one in keys(stub, first.customer) if one.id != second.key.id]

    revoked = revoke(stub, first_key)

    assert revoked.expires_at.ToDatetime() < first_key.expires_at.ToDatetime()
    refused(stub.ResolveApiKey, pb.ResolveApiKeyRequest(api_key=first.api_key), "BAD_CREDENTIALS")
    assert owner(stub, second.api_key) == first.customer.id
    with stored.unchanged():
        assert revoke(stub, first_key) == revoked


def test_a_customer_whose_present_key_is_revoked_has_none_until_the_next_rotation(
    stub: CustomerServiceStub, refused: Refused
) -> None:
    first = stub.CreateCustomer(request())
    [key] = keys(stub, first.customer)

    revoke(stub, key)

    assert get(stub, first.customer.id).api_key_prefix == ""
    refused(stub.ResolveApiKey, pb.ResolveApiKeyRequest(api_key=first.api_key), "BAD_CREDENTIALS")
    next_key = stub.RotateApiKey(rotation(first.customer, overlap=HOUR))
    assert owner(stub, next_key.api_key) == first.customer.id


def test_a_key_that_is_not_there_is_not_found(stub: CustomerServiceStub, refused: Refused) -> None:
    customer, other = created(stub), created(stub)
    [foreign] = keys(stub, other)
    for unknown in (str(uuid4()), foreign.id):
        asked = pb.RevokeApiKeyRequest(customer_id=customer.id, api_key_id=unknown)
        error = refused(stub.RevokeApiKey, asked, "API_KEY_NOT_FOUND")
        assert error.metadata == {"customer_id": customer.id, "api_key_id": unknown}
    nobody = str(uuid4())
    refused(stub.RevokeApiKey, pb.RevokeApiKeyRequest(customer_id=nobody, api_key_id=foreign.id), "CUSTOMER_NOT_FOUND")
    refused(stub.ListApiKeys, pb.ListApiKeysRequest(customer_id=nobody), "CUSTOMER_NOT_FOUND")
    refused.field(stub.RevokeApiKey, pb.RevokeApiKeyRequest(), "customer_id", "api_key_id")


def test_what_the_release_before_writes_to_its_columns_counts(
    stub: CustomerServiceStub, stored: Stored, refused: Refused
) -> None:
    """As its CreateCustomer and RotateApiKey do while pods are replaced."""
    customer_id, [first, second, third] = uuid4(), [SecretKey.generate() for _ in range(3)]
    stored.execute(
        "INSERT INTO customers (id, name, email, api_key_prefix, api_key_hash, request_digest)"
        " VALUES (%s, 'Ada', %s, %s, %s, '')",
        *(customer_id, f"{customer_id}@example.com", first.prefix, first.hash),
    )
    assert owner(stub, first.secret) == str(customer_id)

    rotate = (
        "UPDATE customers SET api_key_prefix = %s, api_key_hash = %s, previous_api_key_hash = %s,"
        " previous_api_key_expires_at = CASE WHEN %s THEN now() + interval '1 hour' END, version = version + 1"
        " WHERE id = %s"
    )
    stored.execute(rotate, second.prefix, second.hash, first.hash, True, customer_id)
    assert owner(stub, first.secret) == owner(stub, second.secret) == str(customer_id)

    stored.execute(rotate, third.prefix, third.hash, None, False, customer_id)
    refused(stub.ResolveApiKey, pb.ResolveApiKeyRequest(api_key=second.secret), "BAD_CREDENTIALS")
    assert owner(stub, third.secret) == str(customer_id)
    assert [one.prefix for one in keys(stub, Customer(id=str(customer_id)))] == [
        *(third.prefix, second.prefix, first.prefix)
    ]


def test_the_release_before_finds_the_present_and_the_previous_key_in_its_columns(
    stub: CustomerServiceStub, stored: Stored
) -> None:
    def columns() -> tuple[Any, ...]:
        return stored.execute(
            "SELECT api_key_hash, previous_api_key_hash, previous_api_key_expires_at > now()"
            " FROM customers WHERE id = %s",
            UUID(first.customer.id),
        )[0]

    first = stub.CreateCustomer(request())
    hashes = [SecretKey(first.api_key).hash]
    assert columns() == (hashes[0], None, None)

    second = stub.RotateApiKey(rotation(first.customer, overlap=HOUR))
    hashes.append(SecretKey(second.api_key).hash)
    assert columns() == (hashes[1], hashes[0], True)

    revoke(stub, keys(stub, first.customer)[1])
    assert columns() == (hashes[1], None, None)
    revoke(stub, second.key)
    assert columns() == (None, None, None)


def test_a_key_of_an_inactive_customer_still_says_whose_it_is(stub: CustomerServiceStub) -> None:
    first = stub.CreateCustomer(request())
    stub.DeleteCustomer(pb.DeleteCustomerRequest(customer_id=first.customer.id))

    resolved = stub.ResolveApiKey(pb.ResolveApiKeyRequest(api_key=first.api_key)).customer

    assert resolved.id == first.customer.id
    assert not resolved.active


def test_bad_keys_and_overlaps_are_refused(stub: CustomerServiceStub, refused: Refused) -> None:
    customer = created(stub)

    refused(stub.ResolveApiKey, pb.ResolveApiKeyRequest(api_key="inno_unknown"), "BAD_CREDENTIALS")
    refused.field(stub.ResolveApiKey, pb.ResolveApiKeyRequest(), "api_key")
    for overlap in (Duration(seconds=-1), Duration(seconds=30 * 86400 + 1)):
        refused.field(stub.RotateApiKey, pb.RotateApiKeyRequest(customer_id=customer.id, overlap=overlap), "overlap")
