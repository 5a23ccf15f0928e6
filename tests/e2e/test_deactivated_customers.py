"""What a deactivated customer submits is refused a moment later, by real processes that remember it as active."""

from collections.abc import Callable

import pytest

from innosystem.customers.v1.customer_service_pb2 import DeleteCustomerRequest
from tests.e2e.stack import Stack, new_job, refusal
from tests.support.until import until_sync

# A message takes milliseconds; this machine may have much else to do.
TOLD_WITHIN_SECONDS = 1.0
REMEMBERED_SECONDS = 2.0


def deactivated(stack: Stack) -> Callable[[], str]:
    """Make a customer that the jobs service remembers as active, and deactivate it; return what submits a job."""
    customer_id, job_type = stack.customer(), stack.job_type("tests.work", standard_cost_cents=0)

    def submit() -> str:
        error = refusal(lambda: stack.submit(new_job(customer_id, job_type)))
        return error.reason if error else ""

    assert submit() == ""
    stack.customers.DeleteCustomer(DeleteCustomerRequest(customer_id=customer_id), timeout=15)
    return submit


def test_the_jobs_service_is_told_of_a_deactivation(stack: Stack) -> None:
    stack.start("customers", "wallets")
    stack.start("jobs", JOBS_CACHE_TTL_SECONDS="600")
    submit = deactivated(stack)
    assert until_sync(submit, limit_seconds=TOLD_WITHIN_SECONDS) == "CUSTOMER_INACTIVE"
    assert submit() == "CUSTOMER_INACTIVE"


@pytest.mark.parametrize("address", ["redis://127.0.0.1:1/0", ""], ids=["Redis is unavailable", "Redis is not set"])
def test_a_deactivation_that_nobody_is_told_of_counts_when_what_is_remembered_ends(stack: Stack, address: str) -> None:
    stack.start("customers", REDIS_URL=address)
    stack.start("wallets")
    stack.start("jobs", JOBS_CACHE_TTL_SECONDS=str(REMEMBERED_SECONDS))
    submit = deactivated(stack)
    assert until_sync(submit, limit_seconds=REMEMBERED_SECONDS + TOLD_WITHIN_SECONDS) == "CUSTOMER_INACTIVE"
    assert stack.processes["customers"].stop() == 0
