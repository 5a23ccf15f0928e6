"""Quotes of callers that are bound to customers, and of jobs that need a slow check."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from services.jobs.rules.errors import CustomerNotFound, InvalidInputJson
from services.jobs.rules.job_types import JobType
from services.jobs.rules.prices.quote import Quote
from services.jobs.rules.schemas.verdict import Verdict
from services.jobs.rules.submission import Submission
from services.jobs.usecases.submission.known_jobs import KnownJobs
from services.jobs.usecases.submission.quotes import Quoted, Quotes
from services.kit.auth.principal import ANYONE
from services.kit.auth.tenants import ALL_TENANTS, Tenants
from services.kit.data.transactions.memory import MemoryTransactions
from tests.support.jobs_examples import stored_job_type
from tests.support.jobs_work import CustomersForTests, JobsWork, TypesForTests, WalletsForTests, memory_work

ADA, BOB = uuid7(), uuid7()
KIND = stored_job_type()


class SlowChecks:
    """Checks that are never small, and refuse what is not 1."""

    def check_small(self, schema: str, text: str) -> Verdict | None:
        return None

    async def check(self, schema: str, text: str) -> Verdict:
        return Verdict(schema, None if text == "1" else "at $")

    async def check_schema(self, schema: str) -> None:
        """Any will do."""


@pytest.fixture
def work() -> JobsWork:
    return memory_work(MemoryTransactions())


def quotes(work: JobsWork, wallets: WalletsForTests, kind: JobType = KIND) -> Quotes:
    return Quotes(
        KnownJobs(work.transactions, work.jobs),
        job_types=TypesForTests(kind),
        customers=CustomersForTests(),
        reservations=wallets.reservations(),
        now=lambda: datetime.now(UTC),
        checks=SlowChecks(),
        limits=None,
    )


def submission(customer_id: UUID = ADA, **values: Any) -> Submission:
    defaults: dict[str, Any] = {"job_id": uuid7(), "customer_id": customer_id, "job_type": KIND.id}
    return Submission(**{**defaults, **values})


async def asked(work: JobsWork, *given: Submission, tenants: Tenants = ALL_TENANTS) -> list[Quoted]:
    wallets = WalletsForTests()
    results = await quotes(work, wallets).quote(given, tenants, ANYONE)
    assert (wallets.placed, wallets.released) == ([], [])
    return results


async def test_customers_of_others_do_not_exist_for_a_bound_caller(work: JobsWork) -> None:
    own, other = await asked(work, submission(), submission(BOB), tenants=Tenants(frozenset({ADA}), None))
    assert isinstance(own, Quote)
    assert isinstance(other, CustomerNotFound)


@pytest.mark.parametrize(("text", "is_right"), [("1", True), ("2", False)])
async def test_an_input_that_needs_a_slow_check_is_checked(work: JobsWork, text: str, is_right: bool) -> None:
    kind = stored_job_type(input_schema="{}")
    one = submission(job_type=kind.id, input_json=text)
    [result] = await quotes(work, WalletsForTests(), kind).quote([one], ALL_TENANTS, ANYONE)
    assert isinstance(result, Quote if is_right else InvalidInputJson)
