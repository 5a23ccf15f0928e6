"""However long the history is, a page looks at a bounded number of jobs; the pages together have all, in order."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast
from uuid import UUID

import psycopg
import pytest

from services.jobs.rules.entities import Job, JobStatus
from services.jobs.rules.indexed_lists import check_order
from services.jobs.rules.job_types import Priority
from services.jobs.rules.resources import CUSTOMER_ID, JOBS, STATUS
from services.jobs.rules.transitions.control import removal
from services.jobs.usecases.queries import QueryService
from services.kit.data.corrupt import understood
from services.kit.data.engine.database import Database
from services.kit.data.repositories import search
from services.kit.data.repositories.search import Search
from services.kit.data.transactions.sql import SqlTransactions
from services.kit.errors import InvalidOrderBy
from services.kit.query.filter import parse_filter
from services.kit.query.order import parse_order_by
from services.kit.query.page import ListQuery, Page
from tests.conftest import OpenDatabase
from tests.support.jobs_examples import new_job, new_job_type
from tests.support.jobs_usecases import control_service
from tests.support.jobs_work import (
    ChangesForTests,
    JobsWork,
    QueueForTests,
    sql_work,
)

ROWS_READ_MAX = 4
COUNT = 30
FILTERS = (
    "",
    'queue = "rare"',
    'labels.team = "blue"',
    "labels:team",
    "status = FAILED",
    'status = FAILED AND queue = "rare"',
    "status = FAILED OR status = CANCELLED",
    "status = PENDING",
    'status = PENDING AND queue = "rare"',
    "status = SCHEDULED OR status = RUNNING OR status = PENDING",
    "NOT status = PENDING",
    "priority = LOW",
    "created_at > 2000-01-01T00:00:00Z AND priority = LOW",
    "created_at < 2000-01-01T00:00:00Z",
    "error.type = ERROR AND attempt = 0",
    "estimated_cost_cents > 0 AND NOT cost_cents:*",
    'queue = "nobodys"',
)
ORDERS = ("", "created_at", "id", "id desc")


@pytest.fixture
async def work(rolled_back: OpenDatabase, monkeypatch: pytest.MonkeyPatch) -> JobsWork:
    monkeypatch.setattr(search, "ROWS_READ_MAX", ROWS_READ_MAX)
    return sql_work(SqlTransactions(await rolled_back("jobs")))


async def filled(work: JobsWork) -> list[Job]:
    """Jobs of several kinds; the first ones are history, those that wait came last."""
    job_type = await work.job_types.create(new_job_type())
    made = [
        new_job(
            job_type.id,
            queue="rare" if number % 7 == 3 else "default",
            priority=Priority.LOW if number % 5 == 0 else Priority.HIGH,
            labels={"team": "blue"} if number % 6 == 1 else {},
        )
        for number in range(COUNT)
    ]
    jobs = await work.jobs.create_many(made)
    ended = [jobs[one.id] for one in made[: COUNT // 2]]
    statuses = (JobStatus.FAILED, JobStatus.CANCELLED)
    await work.jobs.apply([removal(job, statuses[at % 3 == 0], "ERROR", "no") for at, job in enumerate(ended)])
    return understood((await work.jobs.get_many([one.id for one in made])).values())


async def walked(work: JobsWork, query: ListQuery) -> tuple[list[UUID], int]:
    """Return the jobs of all pages, and how many pages there were."""
    found: list[UUID] = []
    for pages in range(1, 2 * COUNT):
        page = await work.jobs.list_page(query)
        assert len(page.items) <= query.page_size
        found += [job.id for job in page.items]
        if page.next_cursor is None:
            return found, pages
        query = replace(query, cursor=page.next_cursor)
    raise AssertionError("the pages have no end")


def expected(jobs: Sequence[Job], query: ListQuery) -> list[UUID]:
    matching = [job for job in jobs if query.specification.matches(job)]
    for order in reversed(query.ordering):
        matching.sort(key=lambda job: cast("Any", order.field.read(job)), reverse=order.descending)
    return [job.id for job in matching]


RETRYABLE = STATUS.is_in((JobStatus.FAILED, JobStatus.CANCELLED))


@pytest.mark.parametrize("order_by", ORDERS)
@pytest.mark.parametrize("text", FILTERS)
async def test_so_have_the_pages_of_jobs_to_run_again(work: JobsWork, text: str, order_by: str) -> None:
    async with work.transactions.begin():
        jobs = await filled(work)
        wanted = parse_filter(text, JOBS) & RETRYABLE
        query = ListQuery(parse_order_by(order_by, JOBS), wanted, page_size=2)

        found, _ = await walked(work, query)

        assert found == expected(jobs, query)


@pytest.mark.parametrize("order_by", ORDERS)
@pytest.mark.parametrize("text", FILTERS)
async def test_the_pages_of_a_bounded_search_have_all_that_match_in_order(
    work: JobsWork, text: str, order_by: str
) -> None:
    async with work.transactions.begin():
        jobs = await filled(work)
        query = ListQuery(parse_order_by(order_by, JOBS), parse_filter(text, JOBS), page_size=2)

        found, _ = await walked(work, query)

        assert found == expected(jobs, query)


@pytest.mark.parametrize("walks_max", [2, 50])
@pytest.mark.parametrize("order_by", ORDERS)
@pytest.mark.parametrize("text", FILTERS)
async def test_a_narrowed_list_has_all_that_match_and_no_cursor_names_a_job_of_others(
    work: JobsWork, monkeypatch: pytest.MonkeyPatch, text: str, order_by: str, walks_max: int
) -> None:
    monkeypatch.setattr(search, "_OWN_WALKS_MAX", walks_max)
    async with work.transactions.begin():
        jobs = await filled(work)
        own = {job.customer_id for job in jobs[::3]}
        narrowing = CUSTOMER_ID.is_in(own)
        wanted = narrowing & parse_filter(text, JOBS)
        query = ListQuery(parse_order_by(order_by, JOBS), wanted, page_size=2, narrowing=narrowing)
        found: list[UUID] = []
        ids = {job.id for job in jobs if job.customer_id in own}
        for _ in range(2 * COUNT):
            page = await work.jobs.list_page(query)
            found += [job.id for job in page.items]
            if page.next_cursor is None:
                break
            assert page.next_cursor[-1] in ids
            query = replace(query, cursor=page.next_cursor)

        assert found == expected(jobs, query)


BY_COMPLETION = ("completed_at", "completed_at desc", "completed_at desc, created_at")


@pytest.mark.parametrize("order_by", BY_COMPLETION)
@pytest.mark.parametrize("text", FILTERS)
async def test_so_have_the_pages_of_finished_jobs_in_the_order_of_their_ends(
    work: JobsWork, text: str, order_by: str
) -> None:
    async with work.transactions.begin():
        jobs = await filled(work)
        bounded = parse_filter("completed_at > 2026-01-01", JOBS) & parse_filter(text, JOBS)
        query = ListQuery(parse_order_by(order_by, JOBS), bounded, page_size=2)
        check_order(query)

        found, _ = await walked(work, query)

        assert found == expected(jobs, query)


def test_an_order_by_completion_is_refused_without_a_bound_or_behind_another_field() -> None:
    for order_by, text in (
        ("completed_at", ""),
        ("completed_at", "status = FAILED"),
        ("completed_at", 'customer_id = "0198c0de-0000-7000-8000-000000000001"'),
        ("completed_at", "completed_at != 2026-01-01"),
        ("completed_at", "completed_at > 2026-01-01 OR status = FAILED"),
        ("created_at, completed_at", "completed_at > 2026-01-01"),
    ):
        with pytest.raises(InvalidOrderBy, match="completed_at"):
            check_order(ListQuery(parse_order_by(order_by, JOBS), parse_filter(text, JOBS)))
    for text in ("completed_at > 2026-01-01", "completed_at = 2026-01-01 AND status = FAILED"):
        check_order(ListQuery(parse_order_by("completed_at desc", JOBS), parse_filter(text, JOBS)))


async def test_a_search_that_finds_nothing_among_the_rows_of_a_page_says_where_to_go_on(work: JobsWork) -> None:
    async with work.transactions.begin():
        await filled(work)
        query = ListQuery(JOBS.default_ordering, parse_filter('queue = "nobodys"', JOBS), page_size=50)

        page = await work.jobs.list_page(query)
        _, pages = await walked(work, query)

        assert page.items == ()
        assert page.next_cursor is not None
        assert pages == COUNT // ROWS_READ_MAX + 1


@pytest.mark.parametrize(
    "text", ['status = PENDING AND queue = "nobodys"', 'status = RUNNING AND labels.team = "blue"']
)
async def test_a_search_among_live_jobs_ends_with_its_first_page(work: JobsWork, text: str) -> None:
    async with work.transactions.begin():
        await filled(work)

        page = await work.jobs.list_page(ListQuery(JOBS.default_ordering, parse_filter(text, JOBS)))

        assert (page.items, page.next_cursor) == ((), None)


async def test_live_jobs_behind_a_long_history_are_found_at_once_the_oldest_first(work: JobsWork) -> None:
    async with work.transactions.begin():
        jobs = await filled(work)
        oldest = ListQuery(parse_order_by("created_at", JOBS), parse_filter("status = PENDING", JOBS), page_size=3)

        page = await work.jobs.list_page(oldest)

        assert [job.id for job in page.items] == expected(jobs, oldest)[:3]


List = Callable[[ListQuery], Awaitable[Page[Job]]]


def listed(work: JobsWork) -> List:
    """As clients list jobs."""
    return partial(QueryService(work.transactions, work.jobs, work.job_types, work.runners).list_page, full=False)


def matching(work: JobsWork) -> List:
    """As jobs are found that a filter names to be changed."""
    return control_service(work, QueueForTests(), ChangesForTests()).matching


@pytest.mark.parametrize("use_case", [listed, matching])
async def test_what_is_deleted_while_a_page_is_made_hides_no_other_job(
    databases: list[Database], jobs_url: str, monkeypatch: pytest.MonkeyPatch, use_case: Callable[[JobsWork], List]
) -> None:
    monkeypatch.setattr(search, "ROWS_READ_MAX", ROWS_READ_MAX)
    work = sql_work(SqlTransactions(databases[0]))
    async with work.transactions.begin():
        jobs = await filled(work)
    query = ListQuery(parse_order_by("created_at", JOBS), parse_filter('labels.team = "blue"', JOBS))
    last = Search.last

    def last_after_some_were_deleted(one: Search, columns: Any) -> Any:
        cursor = one.walks[0].cursor
        with psycopg.connect(jobs_url) as other:
            other.execute(
                "DELETE FROM jobs WHERE id IN"
                " (SELECT id FROM jobs WHERE id > %s AND labels = '{}' ORDER BY id LIMIT 3)",
                [cursor[-1] if cursor else UUID(int=0)],
            )
        return last(one, columns)

    monkeypatch.setattr(Search, "last", last_after_some_were_deleted)
    found: list[UUID] = []
    while True:
        page = await use_case(work)(query)
        found += [job.id for job in page.items]
        if page.next_cursor is None:
            break
        query = replace(query, cursor=page.next_cursor)

    assert found == expected(jobs, query)


def test_an_order_that_all_jobs_would_have_to_be_sorted_for_is_refused_with_its_reason() -> None:
    by_priority = parse_order_by("priority", JOBS)

    for text in ("", "status = FAILED", 'queue = "default"', "status = PENDING OR status = FAILED"):
        with pytest.raises(InvalidOrderBy, match="customer_id"):
            check_order(ListQuery(by_priority, parse_filter(text, JOBS)))
    for text in (
        'customer_id = "0198c0de-0000-7000-8000-000000000001"',
        "status = PENDING",
        "status != FAILED AND status = RUNNING",
    ):
        check_order(ListQuery(by_priority, parse_filter(text, JOBS)))
    check_order(ListQuery(JOBS.default_ordering, parse_filter("", JOBS)))
