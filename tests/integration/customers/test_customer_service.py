"""CustomerService over gRPC on PostgreSQL: what it responses, and what it refuses."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from innosystem.customers.v1 import customer_service_pb2 as pb
from innosystem.customers.v1.customer_pb2 import Customer, CustomerLimits, RateLimit
from innosystem.customers.v1.customer_service_pb2_grpc import CustomerServiceStub
from tests.support.rpc.customer_calls import created, get, request
from tests.support.rpc.refusals import Refused, Stored, details, fields, reason_of

SERVICE = "customers"
CALLERS = 20


def update(customer: Customer, *paths: str, **values: Any) -> pb.UpdateCustomerRequest:
    changed = Customer(id=customer.id, **values)
    return pb.UpdateCustomerRequest(customer=changed, update_mask=FieldMask(paths=paths))


def test_a_new_customer_is_active_and_gets_its_key_once(stub: CustomerServiceStub, stored: Stored) -> None:
    before = datetime.now(UTC) - timedelta(minutes=1)
    asked = request(name="Ada Lovelace")

    first = stub.CreateCustomer(asked)

    assert (first.customer.id, first.customer.name, first.customer.email) == (
        asked.customer_id,
        asked.name,
        asked.email,
    )
    assert first.customer.active
    assert not first.replayed
    assert first.api_key.startswith(first.customer.api_key_prefix)
    assert len(first.customer.api_key_prefix) == 12
    assert before < first.customer.created_at.ToDatetime(UTC) < datetime.now(UTC) + timedelta(minutes=1)
    with stored.unchanged():
        again = stub.CreateCustomer(asked)
    assert again == pb.CreateCustomerResponse(customer=first.customer, replayed=True)
    assert get(stub, asked.customer_id) == first.customer


def test_without_an_id_the_server_makes_one(stub: CustomerServiceStub) -> None:
    assert UUID(created(stub, customer_id="").id).version == 7


def test_a_repeated_create_is_answered_with_the_customer_as_it_is_now(stub: CustomerServiceStub) -> None:
    asked = request(name="before")
    first = stub.CreateCustomer(asked).customer
    stub.UpdateCustomer(update(first, "name", name="after"))

    again = stub.CreateCustomer(asked)

    assert again.replayed
    assert again.customer.name == "after"


def test_an_id_used_with_other_parameters_is_refused_and_they_are_named(
    stub: CustomerServiceStub, refused: Refused
) -> None:
    asked = request()
    stub.CreateCustomer(asked)

    renamed = pb.CreateCustomerRequest(customer_id=asked.customer_id, name="Grace", email=asked.email)
    error = refused(stub.CreateCustomer, renamed, "IDEMPOTENCY_KEY_REUSED")
    assert error.metadata == {"fields": "name"}

    moved = pb.CreateCustomerRequest(customer_id=asked.customer_id, name="Grace", email="other@example.com")
    error = refused(stub.CreateCustomer, moved, "IDEMPOTENCY_KEY_REUSED")
    assert error.metadata == {"fields": "name,email"}


def test_an_email_is_taken_whatever_its_case_and_also_by_an_inactive_customer(
    stub: CustomerServiceStub, refused: Refused
) -> None:
    first = created(stub, email="Taken@Example.com")

    error = refused(stub.CreateCustomer, request(email="taken@example.COM"), "EMAIL_TAKEN")
    assert error.metadata == {"email": "taken@example.COM"}

    stub.DeleteCustomer(pb.DeleteCustomerRequest(customer_id=first.id))
    refused(stub.CreateCustomer, request(email="taken@example.com"), "EMAIL_TAKEN")
    other = created(stub)
    refused(stub.UpdateCustomer, update(other, "email", email="TAKEN@example.com"), "EMAIL_TAKEN")


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"customer_id": "nonsense"}, "customer_id"),
        ({"name": ""}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"email": "nobody"}, "email"),
        ({"email": f"{'x' * 250}@example.com"}, "email"),
    ],
)
def test_a_create_with_a_bad_field_is_refused(
    stub: CustomerServiceStub, refused: Refused, values: dict[str, str], field: str
) -> None:
    refused.field(stub.CreateCustomer, request(**values), field)


def test_limits_of_a_customer_are_set_listed_and_lifted_as_a_whole(stub: CustomerServiceStub) -> None:
    customer = created(stub)
    assert not customer.HasField("limits")
    limits = CustomerLimits(submissions=RateLimit(per_second=0.5, burst=10), input_bytes_per_day=2**40)

    changed = stub.UpdateCustomer(update(customer, "limits", limits=limits)).customer

    assert changed.limits == limits
    assert get(stub, customer.id) == changed
    listed = stub.ListCustomers(pb.ListCustomersRequest(filter=f'id = "{customer.id}"')).customers
    assert [one.limits for one in listed] == [limits]
    renamed = stub.UpdateCustomer(update(changed, "name", name="other")).customer
    assert renamed.limits == limits
    other = CustomerLimits(requests=RateLimit(per_second=0, burst=1))
    assert stub.UpdateCustomer(update(changed, "limits", limits=other)).customer.limits == other
    assert not stub.UpdateCustomer(update(changed, "limits")).customer.HasField("limits")


@pytest.mark.parametrize(
    ("limits", "field"),
    [
        (CustomerLimits(input_bytes_per_day=-1), "customer.limits.input_bytes_per_day"),
        (CustomerLimits(requests=RateLimit(per_second=-1, burst=1)), "customer.limits.requests.per_second"),
        (CustomerLimits(requests=RateLimit(per_second=float("nan"), burst=1)), "customer.limits.requests.per_second"),
        (CustomerLimits(submissions=RateLimit(per_second=1, burst=0.5)), "customer.limits.submissions.burst"),
    ],
)
def test_limits_that_are_none_are_refused(
    stub: CustomerServiceStub, refused: Refused, limits: CustomerLimits, field: str
) -> None:
    refused.field(stub.UpdateCustomer, update(created(stub), "limits", limits=limits), field)


def test_all_bad_fields_of_a_request_are_named_at_once(stub: CustomerServiceStub, refused: Refused) -> None:
    refused.field(stub.CreateCustomer, request(customer_id="?", name="", email="?"), "customer_id", "name", "email")


@pytest.mark.parametrize("method", ["GetCustomer", "DeleteCustomer", "UndeleteCustomer", "RotateApiKey"])
def test_a_customer_that_is_not_there_is_not_found(stub: CustomerServiceStub, refused: Refused, method: str) -> None:
    kind = getattr(pb, f"{method}Request")
    unknown = str(uuid4())

    error = refused(getattr(stub, method), kind(customer_id=unknown), "CUSTOMER_NOT_FOUND")

    assert error.metadata == {"customer_id": unknown}
    refused.field(getattr(stub, method), kind(customer_id="nonsense"), "customer_id")
    refused.field(getattr(stub, method), kind(), "customer_id")


def test_an_update_changes_what_the_mask_names_and_nothing_else(stub: CustomerServiceStub) -> None:
    customer = created(stub, name="before")

    changed = stub.UpdateCustomer(update(customer, "name", name="after", email="ignored@example.com")).customer

    assert (changed.name, changed.email) == ("after", customer.email)
    assert changed.etag != customer.etag
    assert changed.updated_at.ToDatetime() > customer.updated_at.ToDatetime()
    assert get(stub, customer.id) == changed


def test_an_update_under_an_old_etag_is_refused(stub: CustomerServiceStub, refused: Refused) -> None:
    customer = created(stub)
    changed = stub.UpdateCustomer(update(customer, "name", name="second", etag=customer.etag)).customer

    refused(stub.UpdateCustomer, update(customer, "name", name="third", etag=customer.etag), "ETAG_MISMATCH")
    refused(stub.DeleteCustomer, pb.DeleteCustomerRequest(customer_id=customer.id, etag=customer.etag), "ETAG_MISMATCH")

    assert get(stub, customer.id) == changed


def test_updates_with_bad_fields_are_refused(stub: CustomerServiceStub, refused: Refused) -> None:
    customer = created(stub)

    refused(stub.UpdateCustomer, update(Customer(id=str(uuid4())), "name", name="x"), "CUSTOMER_NOT_FOUND")
    refused.field(stub.UpdateCustomer, pb.UpdateCustomerRequest(), "customer", "update_mask")
    refused.field(stub.UpdateCustomer, update(customer, name="x"), "update_mask")
    refused.field(stub.UpdateCustomer, update(customer, "active"), "update_mask")
    refused.field(stub.UpdateCustomer, update(customer, "nonsense", "etag"), "update_mask", "update_mask")
    refused.field(stub.UpdateCustomer, update(customer, "name"), "customer.name")
    refused.field(stub.UpdateCustomer, update(customer, "name", name="x" * 201), "customer.name")
    refused.field(stub.UpdateCustomer, update(customer, "email", email="nobody"), "customer.email")
    refused.field(stub.UpdateCustomer, update(Customer(id="nonsense"), "name", name="x"), "customer.id")


def test_delete_makes_inactive_undelete_active_and_doing_it_again_changes_nothing(
    stub: CustomerServiceStub, stored: Stored
) -> None:
    customer = created(stub)

    deleted = stub.DeleteCustomer(pb.DeleteCustomerRequest(customer_id=customer.id, etag=customer.etag)).customer
    assert not deleted.active
    with stored.unchanged():
        assert stub.DeleteCustomer(pb.DeleteCustomerRequest(customer_id=customer.id)).customer == deleted

    restored = stub.UndeleteCustomer(pb.UndeleteCustomerRequest(customer_id=customer.id)).customer
    assert restored.active
    with stored.unchanged():
        assert stub.UndeleteCustomer(pb.UndeleteCustomerRequest(customer_id=customer.id)).customer == restored


@pytest.mark.parametrize("etag", [False, True], ids=["without etags", "with etags"])
def test_of_twenty_that_update_a_customer_at_once_those_without_an_etag_all_succeed(
    stub: CustomerServiceStub, etag: bool
) -> None:
    customer = created(stub)

    def change(number: int) -> str:
        values = {"etag": customer.etag} if etag else {}
        asked = update(customer, "name", name=f"Ada {number}", **values)
        return reason_of(lambda: stub.UpdateCustomer(asked))

    with ThreadPoolExecutor(CALLERS) as pool:
        refusals = Counter(pool.map(change, range(CALLERS)))
    assert refusals == ({"": 1, "ETAG_MISMATCH": CALLERS - 1} if etag else {"": CALLERS})


def test_a_walk_through_the_pages_finds_each_customer_once(stub: CustomerServiceStub) -> None:
    names = [f"walk-{number:02}" for number in range(7)]
    for name in names:
        created(stub, name=name)
    asked = pb.ListCustomersRequest(page_size=3, filter='name = "walk-*"', order_by="name")
    pages = []
    while True:
        page = stub.ListCustomers(asked)
        pages.append([customer.name for customer in page.customers])
        asked.page_token = page.next_page_token
        if not page.next_page_token:
            break

    assert pages == [names[:3], names[3:6], names[6:]]


def test_the_newest_customers_come_first_and_filters_choose(stub: CustomerServiceStub) -> None:
    older, newer = created(stub, name="Filter A"), created(stub, name="Filter B")
    stub.DeleteCustomer(pb.DeleteCustomerRequest(customer_id=older.id))

    def listed(text: str) -> list[str]:
        return [one.id for one in stub.ListCustomers(pb.ListCustomersRequest(filter=text)).customers]

    assert listed('name = "Filter*"') == [newer.id, older.id]
    assert listed('name = "Filter*" AND active = true') == [newer.id]
    assert listed(f'id = "{older.id}" OR email = "{newer.email}"') == [newer.id, older.id]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"filter": "api_key_hash = 1"}, "INVALID_FILTER"),
        ({"filter": "name ="}, "INVALID_FILTER"),
        ({"filter": 'name = "a\0b"'}, "INVALID_FILTER"),
        ({"filter": "(" * 40}, "INVALID_FILTER"),
        ({"order_by": "active"}, "INVALID_ORDER_BY"),
        ({"order_by": "name sideways"}, "INVALID_ORDER_BY"),
        ({"page_token": "nonsense"}, "INVALID_PAGE_TOKEN"),
        ({"page_token": "\u00e9"}, "INVALID_PAGE_TOKEN"),
    ],
)
def test_lists_with_bad_parameters_are_refused(
    stub: CustomerServiceStub, refused: Refused, values: dict[str, Any], reason: str
) -> None:
    error = refused(stub.ListCustomers, pb.ListCustomersRequest(**values), reason)
    assert bool(error.metadata.get("problem")) == (reason != "INVALID_PAGE_TOKEN")


def test_a_page_token_is_bound_to_the_list_it_came_from(stub: CustomerServiceStub, refused: Refused) -> None:
    for _ in range(2):
        created(stub, name="bound")
    token = stub.ListCustomers(pb.ListCustomersRequest(page_size=1, filter="name = bound")).next_page_token
    assert token

    for text, order in (("name = other", ""), ("name = bound", "name")):
        asked = pb.ListCustomersRequest(page_token=token, filter=text, order_by=order)
        refused(stub.ListCustomers, asked, "INVALID_PAGE_TOKEN")
    refused.field(stub.ListCustomers, pb.ListCustomersRequest(page_size=-1), "page_size")
    refused.field(stub.ListCustomers, pb.ListCustomersRequest(page_token="x" * 4097), "page_token")


def test_many_customers_are_answered_in_the_order_of_their_ids_and_those_that_are_not_there_by_an_error(
    stub: CustomerServiceStub, stored: Stored, refused: Refused
) -> None:
    ada, grace = created(stub), created(stub)
    stub.DeleteCustomer(pb.DeleteCustomerRequest(customer_id=grace.id))
    unknown = str(uuid4())
    ids = [grace.id, unknown, ada.id, ada.id]
    with stored.unchanged():
        results = stub.BatchGetCustomers(pb.BatchGetCustomersRequest(customer_ids=ids)).results
    assert [one.customer.id for one in results] == [grace.id, "", ada.id, ada.id]
    assert [one.customer.active for one in results] == [False, False, True, True]
    assert details(results[1].error, "CUSTOMER_NOT_FOUND").metadata == {"customer_id": unknown}
    many = pb.BatchGetCustomersRequest(customer_ids=[unknown] * 1001)
    refused(stub.BatchGetCustomers, many, "BATCH_TOO_LARGE")
    refused.field(stub.BatchGetCustomers, pb.BatchGetCustomersRequest(), "customer_ids")
    no_id, found = stub.BatchGetCustomers(pb.BatchGetCustomersRequest(customer_ids=["no", ada.id])).results
    assert fields(details(no_id.error, "INVALID_FIELD")) == ["customer_ids[0]"]
    assert found.customer.id == ada.id
