"""Which orders of a list are safe to walk page by page is said in the contract."""

import re
from pathlib import Path

import pytest

from services.customers.rules.resources import CUSTOMERS
from services.jobs.rules.resources import JOB_TYPES, JOBS, RUNNERS
from services.kit.query.resource import Resource
from services.wallets.rules.resources import HOLDS, TRANSACTIONS, WALLETS

PROTOS = Path(__file__).parents[3] / "protos" / "innosystem"
# What is written once.
NEVER_CHANGED = {"id", "created_at", "sequence", "priority", "host", "started_at"}
LISTS = [
    (CUSTOMERS, "customers/v1/customer_service.proto", "ListCustomersRequest"),
    (WALLETS, "wallets/v1/wallet_service.proto", "ListWalletsRequest"),
    (HOLDS, "wallets/v1/wallet_service.proto", "ListHoldsRequest"),
    (TRANSACTIONS, "wallets/v1/wallet_service.proto", "ListTransactionsRequest"),
    (JOB_TYPES, "jobs/v1/job_type_service.proto", "ListJobTypesRequest"),
    (JOBS, "jobs/v1/job_service.proto", "ListJobsRequest"),
    (RUNNERS, "jobs/v1/job_service.proto", "ListRunnersRequest"),
]


@pytest.mark.parametrize(("resource", "file", "message"), LISTS)
def test_an_order_by_what_changes_is_named_as_such(resource: Resource, file: str, message: str) -> None:
    text = (PROTOS / file).read_text(encoding="utf-8")
    body = text[text.index(f"message {message} {{") :]
    found = re.search(r"((?: *//[^\n]*\n)+) *string order_by", body)
    assert found is not None
    comment = " ".join(line.strip(" /") for line in found[1].splitlines())
    sortable = {field.name for field in resource.fields if field.sortable}
    listed = set(re.findall(r"[a-z_]+", re.split("; |, at most", comment.partition("order on ")[2])[0]))
    assert listed == sortable
    assert ("change: a" in comment) == bool(sortable - NEVER_CHANGED), comment
