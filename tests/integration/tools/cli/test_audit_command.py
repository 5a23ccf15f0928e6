"""D11: `innosystem audit list` shows operators who changed what, read from real services."""

import asyncio
import json

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from innosystem.client import Innosystem, new_id, request_id
from innosystem.customers.v1.customer_pb2 import Customer
from innosystem.customers.v1.customer_service_pb2 import CreateCustomerRequest, UpdateCustomerRequest
from services import SERVICES
from tests.conftest import PostgresServer
from tests.integration.tools.cli.conftest import Run


async def rename(platform_environment: dict[str, str], customer_id: str) -> None:
    addresses = {name: platform_environment[f"{name.upper()}_ADDRESS"] for name in SERVICES}
    async with Innosystem(**addresses) as platform:
        create = CreateCustomerRequest(customer_id=customer_id, name="Ada", email=f"{customer_id}@example.com")
        await platform.customers.CreateCustomer(create)
        request_id.set("the-renaming")
        update = UpdateCustomerRequest(
            customer=Customer(id=customer_id, name="Ada Lovelace"), update_mask=FieldMask(paths=["name"])
        )
        await platform.customers.UpdateCustomer(update)


@pytest.fixture
def renamed(platform_environment: dict[str, str]) -> str:
    """The ID of a customer that was created, and renamed in the request `the-renaming`."""
    customer_id = str(new_id())
    asyncio.run(rename(platform_environment, customer_id))
    return customer_id


def test_a_change_made_over_grpc_is_listed_with_its_caller_and_request(innosystem: Run, renamed: str) -> None:
    done = innosystem(
        "audit", "list", "customers", "--filter", f'entity_id = "{renamed}" AND action = UPDATE', "--json"
    )
    assert done.returncode == 0, done.stderr
    [entry] = json.loads(done.stdout)
    assert entry["method"] == "/innosystem.customers.v1.CustomerService/UpdateCustomer"
    assert entry["request_id"] == "the-renaming"
    assert entry["actor"].startswith("ipv4:127.0.0.1:")
    assert entry["transaction_id"]
    assert (entry["before"]["name"], entry["after"]["name"]) == ("Ada", "Ada Lovelace")


def test_a_person_sees_the_changes_and_how_many_there_are(innosystem: Run, renamed: str) -> None:
    done = innosystem("audit", "list", "customers", "--filter", f'entity_id = "{renamed}"', "--limit", "1")
    assert done.returncode == 0, done.stderr
    assert 'name: "Ada" -> "Ada Lovelace"' in done.stdout
    assert done.stderr == "1 of 2 shown; --limit 2 for more\n"


def test_without_a_service_the_trails_of_all_are_one_sorted_by_time(innosystem: Run, renamed: str) -> None:
    assert innosystem("queue", "pause", "of-the-trail", "--unused").returncode == 0
    done = innosystem("audit", "list", "--json", "--limit", "200")
    assert done.returncode == 0, done.stderr
    entries = json.loads(done.stdout)
    assert {"customers", "queues"} <= {entry["entity_type"] for entry in entries}
    times = [entry["created_at"] for entry in entries]
    assert times == sorted(times, reverse=True)
    newest = innosystem("audit", "list", "--json", "--limit", "1")
    assert json.loads(newest.stdout) == entries[:1]
    assert entries[0]["entity_type"] == "queues"


def test_a_queue_is_shown_by_its_name(innosystem: Run) -> None:
    assert innosystem("queue", "pause", "named-in-the-trail", "--unused").returncode == 0
    done = innosystem("audit", "list", "jobs", "--filter", "entity_type = queues", "--limit", "1")
    assert "queues" in done.stdout
    assert " named-in-the-trail " in done.stdout


def test_a_filter_that_is_not_understood_is_explained(innosystem: Run) -> None:
    done = innosystem("audit", "list", "wallets", "--filter", "balance > 3")
    assert done.returncode == 1
    assert "'balance' is no field" in done.stderr
    assert "should not happen" not in done.stderr


def test_a_database_that_is_not_named_is_asked_for(innosystem: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JOBS_DATABASE_URL")
    done = innosystem("audit", "list", "jobs")
    assert done.returncode == 1
    assert "JOBS_DATABASE_URL is not set" in done.stderr


def test_a_database_without_the_trail_says_how_it_is_made(
    innosystem: Run, monkeypatch: pytest.MonkeyPatch, postgres: PostgresServer
) -> None:
    postgres.create_database("without_trail")
    monkeypatch.setenv("JOBS_DATABASE_URL", postgres.url("without_trail"))
    done = innosystem("audit", "list", "jobs")
    assert done.returncode == 1
    assert "innosystem migrate up" in done.stderr
