"""D14: on 100,000 rows each query of the services uses the index that is meant for it, and no index is unused.

The use of the repositories is recorded, statement by statement with its parameters, and PostgreSQL is asked for its
plan.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID

import psycopg
import pytest
from pydantic import SecretStr
from uuid_utils.compat import uuid7

from services.customers.rules.resources import API_KEYS, CUSTOMER_ID, CUSTOMERS
from services.customers.store.sql import SqlApiKeyRepository, SqlCustomerRepository
from services.jobs.rules.entities import BillingStatus, Job, JobStatus, ListKey
from services.jobs.rules.holds import Reserved
from services.jobs.rules.job_types import Priority
from services.jobs.rules.resources import JOBS, STATUS
from services.jobs.rules.schemas.payloads import Payload
from services.jobs.rules.transitions.completion import BillingChange, Completion, ending, given_back
from services.jobs.rules.transitions.control import Retry, removal
from services.jobs.rules.transitions.leasing import Claim, Renewal
from services.jobs.rules.transitions.rescue import Rescue
from services.kit.auth.tenants import Tenants
from services.kit.data.audit.entries import AUDIT_LOG
from services.kit.data.audit.sql import SqlAuditLog
from services.kit.data.corrupt import understood
from services.kit.data.engine.database import Database
from services.kit.query.filter import parse_filter
from services.kit.query.listing import Listing
from services.kit.query.order import parse_order_by
from services.kit.query.page import ListQuery, Page, PageTokens
from services.kit.query.resource import Resource
from services.kit.settings import DatabaseSettings
from services.wallets.rules.books import START
from services.wallets.rules.entities import HoldState, Owner, Wallet
from services.wallets.rules.requests import Credit, Deduct, JobCharge, Refund, ReleaseHold, WriteOff
from services.wallets.rules.resources import (
    CREATED_AT,
    HOLD_WALLET_ID,
    HOLDS,
    ID,
    STATE,
    TRANSACTIONS,
    WALLET_ID,
    WALLETS,
)
from tests.integration.plans.recording import Recorded, collect_indexes
from tests.support.jobs_examples import MINUTE, NOW, new_job
from tests.support.jobs_work import JobsWork
from tests.support.jobs_work import sql_work as jobs_work
from tests.support.wallets_work import WalletsWork
from tests.support.wallets_work import sql_work as wallets_work

pytestmark = pytest.mark.slow

JOBS_ROWS = """
INSERT INTO job_types (id, name, processing_logic_id, processor_type, standard_cost_cents, currency, queue,
    default_priority, max_attempts, timeout, expires_after, retry_initial_backoff, retry_max_backoff, retry_multiplier,
    request_digest)
VALUES (gen_random_uuid(), 'type', 'echo', 'ASYNC', 5, 'EUR', 'default', 1, 1, '1 min',
    '1 day', '1 s', '1 min', 2, '');
"""
# Nearly all jobs are history; some wait, a few run, are for later, are still to be handed to Redis or to be charged.
JOBS_ROWS_MORE = """
INSERT INTO jobs (id, customer_id, job_type_id, status, billing_status, priority, queue, input_data, input_bytes,
    output_data, estimated_cost_cents, cost_cents, currency, transaction_id, max_attempts, request_digest, expires_at,
    created_at, queued_at, run_at, dispatched_at, started_at, completed_at, lease_id, lease_expires_at, next_try_at)
SELECT gen_random_uuid(), (ARRAY(SELECT id FROM people))[1 + n % 1000], (SELECT id FROM job_types), status,
    CASE WHEN due THEN 'CHARGE_DUE' WHEN status = 'SUCCEEDED' THEN 'CHARGED' ELSE 'UNHELD' END, n % 3, 'default',
    '{"n": 1}', 8, CASE status WHEN 'SUCCEEDED' THEN 'null'::jsonb END, 5, CASE status WHEN 'SUCCEEDED' THEN 5 END,
    'EUR', CASE WHEN status = 'SUCCEEDED' AND NOT due THEN gen_random_uuid() END, 1, '', now() + (n - 500) * second,
    now() - n * second, now() - n * second, CASE status WHEN 'SCHEDULED' THEN now() + (n - 5000) * second END,
    CASE WHEN status = 'PENDING' AND n % 500 <> 1 THEN now() - n * second END,
    CASE WHEN status NOT IN ('PENDING', 'SCHEDULED') THEN now() END,
    CASE status WHEN 'SUCCEEDED' THEN now() - n * second END,
    CASE status WHEN 'RUNNING' THEN gen_random_uuid() END,
    CASE status WHEN 'RUNNING' THEN now() + (n - 5000) * second END, CASE WHEN due THEN now() + (n - 5000) * second END
FROM (SELECT n, interval '1 s' AS second, n % 100 = 4 AS due,
        CASE WHEN n % 50 = 1 THEN 'PENDING' WHEN n % 500 = 2 THEN 'RUNNING' WHEN n % 100 = 3 THEN 'SCHEDULED'
            ELSE 'SUCCEEDED' END AS status
      FROM generate_series(1, 100000) AS n) AS numbers;
INSERT INTO queues (name, paused) VALUES ('paused', true);
"""
WITHHELD_ROWS = """
INSERT INTO jobs (id, customer_id, job_type_id, status, billing_status, priority, queue, input_data, input_bytes,
    estimated_cost_cents, currency, max_attempts, request_digest, expires_at)
SELECT gen_random_uuid(), (ARRAY(SELECT id FROM people))[1 + n % 1000], (SELECT id FROM job_types), 'PENDING', 'UNHELD',
    2, 'default', '{"n": 1}', 8, 5, 'EUR', 1, '', now() + interval '1 day'
FROM generate_series(1, 200000) AS n;
"""
PEOPLE = "CREATE TEMPORARY TABLE people AS SELECT gen_random_uuid() AS id FROM generate_series(1, 1000);"
# Each deduction is of a job of its own, by its digest: a random ID would be made once a number and not once a row.
WALLETS_ROWS = """
INSERT INTO wallets (id, customer_id, current_balance_cents, pending_charges_cents, last_sequence, created_at)
SELECT gen_random_uuid(), gen_random_uuid(), 100, 1, 11, now() - n * interval '1 s' FROM generate_series(1, 10000) AS n;
INSERT INTO wallet_transactions (id, wallet_id, sequence, kind, counter_account, amount_cents, balance_after_cents,
    idempotency_key, job_id)
SELECT gen_random_uuid(), wallets.id, number, 'DEDUCTION', 'REVENUE', -1, 100, 'job:' || job, job
FROM wallets, generate_series(1, 10) AS number, LATERAL (SELECT md5(wallets.id || '/' || number)::uuid AS job) AS made;
INSERT INTO wallet_transactions (id, wallet_id, sequence, kind, counter_account, amount_cents, balance_after_cents,
    idempotency_key, job_id, refunds_transaction_id)
SELECT gen_random_uuid(), wallet_id, 11, 'REFUND', 'REVENUE', 1, 100, 'refund', job_id, id
FROM wallet_transactions WHERE sequence = 1;
INSERT INTO holds (id, wallet_id, job_id, amount_cents, state, created_at, resolved_at)
SELECT gen_random_uuid(), id, gen_random_uuid(), 1, CASE WHEN n = 1 THEN 'ACTIVE' ELSE 'CAPTURED' END,
    created_at, CASE WHEN n > 1 THEN now() END
FROM wallets, generate_series(1, 10) AS n;
"""
CUSTOMERS_ROWS = """
INSERT INTO customers (id, name, email, api_key_hash, previous_api_key_hash, previous_api_key_expires_at,
    request_digest, created_at)
SELECT gen_random_uuid(), 'name', n || '@example.com', int4send(n), int4send(-n), now(), '', now() - n * interval '1 s'
FROM generate_series(1, 100000) AS n;
"""
AUDIT_ROWS = """
INSERT INTO audit_log (id, actor, method, request_id, transaction_id, entity_type, entity_id, action, created_at)
SELECT gen_random_uuid(), '', '', '', '', 'things', gen_random_uuid(), 'CREATE', now() - n * interval '1 s'
FROM generate_series(1, 100000) AS n;
"""
# Indexes that no query reads, and why they are there.
RULES = {
    # Two addresses that differ in case are the same; an INSERT asks it, which no plan shows.
    "uq_customers_email",
    # The release before this one looks customers up by these.
    "uq_customers_api_key_hash",
    "uq_customers_previous_api_key_hash",
    # One name of a job type; the table is so small that reading it whole is cheaper.
    "uq_job_types_name",
    "pk_job_types",
    # What a few statements a second ask for all runners together.
    "pk_runners",
    # The hold auditor's only row.
    "pk_hold_audit",
    # One row of a queue; the same. And one receipt of a job.
    "pk_queues",
    "pk_receipts",
    # One type in one queue; the table is empty but for what no runner serves.
    "pk_unserved_types",
    # The release before this one takes turns along it.
    "ix_jobs_withheld",
    # What handlers have said: nearly always of few jobs.
    "pk_job_progress",
    # Holds that could not be released: nearly always none.
    "pk_unreleased_holds",
    "ix_unreleased_holds_next_try_at",
    # Nobody asks for an entry of the audit trail by its ID; replicas and backups tell rows apart by it.
    "pk_audit_log",
}
# What operators look for, in a history that has none of it.
SEARCHES = {
    "dead letters": "status = FAILED",
    "live jobs of a queue": 'queue = "wrong" AND (status = PENDING OR status = RUNNING OR status = SCHEDULED)',
    "an error": 'error.type = "Timeout"',
    "a type": 'job_type_id = "01990000-0000-7000-8000-00000000ffff"',
    "what was dear": "cost_cents > 1000 AND attempt > 2 AND estimated_cost_cents > 1000",
    "a label": 'labels.team = "blue"',
}
# What is done to jobs that are named.
BY_ID = (
    *("get", "get many", "payloads", "lock", "withhold", "complete", "settle", "versions"),
    *("return", "retry", "remove"),
)
AUDIT = {"changes": {"ix_audit_log_created_at"}, "changes of one": {"ix_audit_log_entity_id"}}


def _parts(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from _parts(part)


@pytest.fixture
async def record(fresh_database: Callable[[str], str]) -> AsyncIterator[Callable[[str, str], Recorded]]:
    """Fill a service's database and record its statements."""
    opened: list[Database] = []

    def make(service: str, rows: str) -> Recorded:
        url = fresh_database(service)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(AUDIT_ROWS + rows)
            connection.execute("VACUUM ANALYZE")
        database = Database.connect(DatabaseSettings(url=SecretStr(url)), application_name="test")
        opened.append(database)
        return Recorded(url, database)

    yield make
    for database in opened:
        await database.close()


async def read_audit_log(recorded: Recorded) -> None:
    """List what was changed, and what was changed in one row."""
    log = SqlAuditLog(recorded.transactions)
    page = await recorded.call("changes", lambda: log.list_page(ListQuery(AUDIT_LOG.default_ordering)))
    of_one = AUDIT_LOG.by_name["entity_id"].is_(page.items[0].entity_id)
    await recorded.call("changes of one", lambda: log.list_page(ListQuery(AUDIT_LOG.default_ordering, of_one)))


async def look_after_jobs(recorded: Recorded, work: JobsWork) -> list[UUID]:
    """Do all that the housekeeping does; return some jobs that wait."""
    jobs = work.jobs
    key = ListKey("default", Priority.LOW)
    assert len(await recorded.call("dispatched lists", jobs.dispatched_lists)) == 3
    assert len(await recorded.call("withheld lists", jobs.withheld_lists)) == 3
    assert len((await recorded.call("take withheld", lambda: jobs.take_withheld(key, 50))).jobs) == 50
    waiting: list[UUID] = await recorded.call("dispatched", lambda: jobs.dispatched(key, MINUTE, 10))
    assert len(waiting) == 10
    await recorded.call("still dispatched", lambda: jobs.still_dispatched(waiting))
    assert len(await recorded.call("release", lambda: jobs.release_scheduled(10))) == 10
    await recorded.call("next scheduled", jobs.next_scheduled)
    lost = await recorded.call("lost", lambda: jobs.lock_lost(5))
    assert len(lost) == 5
    lost = understood(lost)
    rescues = [Rescue.of(job, deaths=0, early_losses=1) for job in lost]
    await recorded.call("begun", lambda: jobs.begun({uuid7()}, MINUTE))
    await recorded.call("rescue", lambda: jobs.apply(rescues))
    assert len(await recorded.call("expired", lambda: jobs.lock_expired(5))) == 5
    assert len(await recorded.call("unsettled", lambda: jobs.take_unsettled(10, MINUTE, MINUTE))) == 10
    finished = await recorded.call("finished", lambda: jobs.lock_finished(MINUTE, 500))
    assert await recorded.call("retention", lambda: jobs.delete_many(finished)) == 500
    await recorded.call("left alone", lambda: jobs.left_alone(100))
    await recorded.call("renew", lambda: jobs.renew(Renewal([uuid7()], waiting, MINUTE)))
    returns = [given_back(job, Completion(job_id=job.id, lease_id=uuid7()), None) for job in lost]
    await recorded.call("return", lambda: jobs.apply(returns))
    await recorded.call(
        "retry", lambda: jobs.apply([Retry.of(replace(lost[0], id=waiting[0]), Reserved(uuid7(), 1, 5))])
    )
    await recorded.call("remove", lambda: jobs.apply([removal(lost[0], JobStatus.FAILED, "E", "no")]))
    assert await recorded.call("count unsettled", jobs.count_unsettled)
    assert await recorded.call("count unfinished", lambda: jobs.count_unfinished(1000))
    await recorded.call("audit", lambda: work.progress.window(MINUTE))
    await recorded.call("versions", lambda: jobs.versions(waiting))
    await recorded.call("withhold", lambda: jobs.withhold(waiting))
    return waiting


def by_start_of_id(resource: Resource) -> ListQuery:
    """The query by which a command finds the ID that starts like this."""
    listing = Listing(resource, PageTokens(bytes(16)))
    return listing.query(filter='id = "01990000-0*"', order_by="id", page_size=6)


async def list_jobs(recorded: Recorded, work: JobsWork) -> Page[Job]:
    """List jobs in all ways; return the first page."""
    jobs = work.jobs
    page: Page[Job] = await recorded.call("list", lambda: jobs.list_page(ListQuery(JOBS.default_ordering)))
    after = ListQuery(JOBS.default_ordering, cursor=page.next_cursor)
    await recorded.call("list on", lambda: jobs.list_page(after))
    customer = JOBS.by_name["customer_id"]
    mine = ListQuery(JOBS.default_ordering, customer.is_(page.items[0].customer_id))
    await recorded.call("list of a customer", lambda: jobs.list_page(mine))
    both = customer.is_in([page.items[0].customer_id, uuid7()])
    own = ListQuery(JOBS.default_ordering, both & STATUS.is_(JobStatus.SUCCEEDED), narrowing=both)
    await recorded.call("list of own jobs", lambda: jobs.list_page(own))
    await recorded.call("start of an ID", lambda: jobs.list_page(by_start_of_id(JOBS)))
    for name, text in SEARCHES.items():
        query = ListQuery(JOBS.default_ordering, parse_filter(text, JOBS))
        await recorded.call(name, partial(jobs.list_page, query))

    for name, more in {
        "ended since": "",
        "ended since with an error": ' AND error.type = "Timeout"',
        "ended since without success": " AND status = FAILED",
    }.items():
        bounded = parse_filter(f"completed_at > 2026-01-31{more}", JOBS)
        by_end = ListQuery(parse_order_by("completed_at desc", JOBS), bounded)
        await recorded.call(name, partial(jobs.list_page, by_end))
    return page


async def test_the_jobs_service_reads_by_index(record: Callable[[str, str], Recorded]) -> None:
    recorded = record("jobs", PEOPLE + JOBS_ROWS + JOBS_ROWS_MORE)
    work = jobs_work(recorded.transactions)
    jobs = work.jobs
    page = await list_jobs(recorded, work)
    ids = await look_after_jobs(recorded, work)
    await recorded.call("get", lambda: jobs.get(ids[0]))
    await recorded.call("get many", lambda: jobs.get_many(ids))
    of_customers = Tenants(frozenset(one.customer_id for one in page.items), None)
    await recorded.call("own jobs", lambda: jobs.own(ids, of_customers))
    await recorded.call("own queues", lambda: jobs.own(ids, Tenants(None, frozenset(["default"]))))
    await recorded.call("payloads", lambda: jobs.payloads(ids))
    await recorded.call("lock", lambda: jobs.lock_many(ids))
    await recorded.call("lock billing", lambda: jobs.lock_billing(ids))
    await recorded.call("claim", lambda: jobs.claim(Claim(ids, uuid7(), uuid7(), MINUTE, 1_000_000)))
    [job_type] = await recorded.call("job types", lambda: _all_types(work))
    await recorded.call("create", lambda: jobs.create_many([new_job(job_type)]))
    job = next(one for one in page.items if one.status is JobStatus.SUCCEEDED)
    done = Completion(job_id=job.id, lease_id=uuid7(), outcome=Payload("1", 0))
    await recorded.call("complete", lambda: jobs.apply([ending(job, done, settle_after=MINUTE)]))
    paid = BillingChange(job_id=job.id, billing_status=BillingStatus.CHARGED, transaction_id=uuid7())
    await recorded.call("settle", lambda: jobs.apply([paid]))
    await recorded.call("stats", lambda: jobs.stats([]))

    await read_audit_log(recorded)
    used = recorded.indexes()
    meant = AUDIT | {
        "list": {"ix_jobs_created_at"},
        "list on": {"ix_jobs_created_at"},
        "list of a customer": {"ix_jobs_customer_id"},
        "list of own jobs": {"ix_jobs_customer_id", "pk_jobs"},
        # No charged job has been deleted yet.
        "own jobs": {"pk_jobs", "all of receipts"},
        "own queues": {"pk_jobs"},
        "start of an ID": {"pk_jobs"},
        "dead letters": {"ix_jobs_dead"},
        **{name: {"ix_jobs_created_at", "pk_jobs"} for name in ("a label", "an error", "a type", "what was dear")},
        "ended since": {"ix_jobs_completed_at"},
        "ended since with an error": {"ix_jobs_completed_at", "pk_jobs"},
        "ended since without success": {"ix_jobs_completed_at", "pk_jobs"},
        "live jobs of a queue": {
            "ix_jobs_active",
            "ix_jobs_lanes",
            "ix_jobs_scheduled_lists",
            "ix_jobs_created_at",
            "pk_jobs",
        },
        "dispatched lists": {"ix_jobs_active"},
        "withheld lists": {"ix_jobs_lanes"},
        "take withheld": {"ix_jobs_lanes", "pk_jobs"},
        "dispatched": {"ix_jobs_active"},
        "release": {"ix_jobs_scheduled", "pk_jobs"},
        "next scheduled": {"ix_jobs_scheduled"},
        "lost": {"ix_jobs_active", "pk_jobs"},
        "expired": {"ix_jobs_expiring", "pk_jobs"},
        "unsettled": {"ix_jobs_unsettled", "pk_jobs"},
        "count unsettled": {"ix_jobs_blocked", "ix_jobs_unsettled"},
        "count unfinished": {"ix_jobs_active", "ix_jobs_lanes", "ix_jobs_scheduled_lists"},
        "finished": {"ix_jobs_completed_at"},
        "retention": {"pk_jobs"},
        "left alone": {"ix_jobs_active", "ix_jobs_expiring", "ix_jobs_unsettled"},
        "stats": {
            "ix_jobs_active",
            "ix_jobs_lanes",
            "ix_jobs_scheduled_lists",
            "ix_jobs_created_at",
            "ix_jobs_completed_at",
        },
        **{name: {"pk_jobs"} for name in BY_ID},
    }
    for indexes in used.values():
        # The same jobs are in both, and where only their lists are asked for either will do.
        if "ix_jobs_withheld" in indexes:
            indexes.remove("ix_jobs_withheld")
            indexes.add("ix_jobs_lanes")
    # The tables of paused queues, job types and what handlers say are so small that reading them whole is cheaper.
    small = {f"all of {name}" for name in ("queues", "job_types", "unserved_types", "job_progress")}
    read = {name: used[name] - small - {"pk_job_progress"} for name in meant}
    assert read == meant
    assert "pk_jobs" in used["claim"]
    # Jobs that run or are in a list are few: where only those are meant, they may be looked through as well.
    assert used["begun"] <= {"ix_jobs_active", "all of lost_runs"}
    assert used["rescue"] | used["renew"] | used["still dispatched"] <= {"ix_jobs_active", "pk_jobs"}
    assert not [name for name, indexes in used.items() if "all of jobs" in indexes]
    assert recorded.all_indexes() - set().union(*used.values()) <= RULES


async def test_withheld_jobs_are_taken_by_their_keys_when_the_table_was_analysed_while_none_was_withheld(
    record: Callable[[str, str], Recorded],
) -> None:
    nothing_withheld = "UPDATE jobs SET dispatched_at = now() WHERE status = 'PENDING';"
    recorded = record("jobs", PEOPLE + JOBS_ROWS + JOBS_ROWS_MORE + nothing_withheld)
    recorded.execute("UPDATE jobs SET dispatched_at = NULL WHERE status = 'PENDING'")
    jobs = jobs_work(recorded.transactions).jobs
    key = ListKey("default", Priority.LOW)
    assert len((await recorded.call("take withheld", lambda: jobs.take_withheld(key, 50))).jobs) == 40
    [plan] = recorded.plans("take withheld")
    read = {
        name: next(part for part in _parts(plan) if part.get("Subplan Name") == f"CTE {name}")
        for name in ("lanes", "chosen", "taken")
    }
    # From lane to lane, and in each from its first job on; what is in order already is not sorted.
    for name in ("lanes", "chosen"):
        found = [part for part in _parts(read[name]) if part.get("Relation Name") == "jobs"]
        assert {part["Index Name"] for part in found} == {"ix_jobs_lanes"}
        assert all("(job_type_id, customer_id)" in part["Index Cond"].replace("ROW", "") for part in found)
    lane = next(part for part in _parts(read["chosen"]) if part["Node Type"] == "Limit")
    assert "Sort" not in {part["Node Type"] for part in _parts(lane)}
    assert _read_of_jobs(read["taken"]) == {"pk_jobs"}


async def test_withheld_jobs_are_taken_by_their_keys_when_nearly_all_of_the_table_is_withheld(
    record: Callable[[str, str], Recorded],
) -> None:
    recorded = record("jobs", PEOPLE + JOBS_ROWS + WITHHELD_ROWS)
    jobs = jobs_work(recorded.transactions).jobs
    key = ListKey("default", Priority.LOW)
    assert len((await recorded.call("take withheld", lambda: jobs.take_withheld(key, 1000))).jobs) == 1000
    [plan] = recorded.plans("take withheld")
    assert _read_of_jobs(plan) == {"ix_jobs_lanes", "pk_jobs"}


def _read_of_jobs(plan: dict[str, Any]) -> set[str]:
    """The indexes by which a plan reads jobs; `all of jobs` if it reads them all."""
    found: set[str] = set()
    collect_indexes(plan, found)
    return found & {"all of jobs", "pk_jobs", *(name for name in found if name.startswith("ix_jobs"))}


async def _all_types(work: Any) -> list[UUID]:
    found = await work.job_types.resolve([], ["type"])
    return [job_type.id for name, job_type in found.items() if name == "type"]


async def list_own_holds(recorded: Recorded, work: WalletsWork, wallet: Wallet) -> None:
    """List the holds of a customer's wallets, of which one state is wanted."""
    ids = await recorded.call("own wallets", lambda: work.wallets.ids_of([wallet.customer_id]))
    own = HOLD_WALLET_ID.is_in(ids)
    query = ListQuery(HOLDS.default_ordering, own & STATE.is_(HoldState.CAPTURED), narrowing=own)
    await recorded.call("own holds", lambda: work.holds.list_page(query))


async def test_the_wallets_service_reads_by_index(record: Callable[[str, str], Recorded]) -> None:
    recorded = record("wallets", WALLETS_ROWS)
    work = wallets_work(recorded.transactions)
    page = await recorded.call("list", lambda: work.wallets.list_page(ListQuery(WALLETS.default_ordering)))
    wallet = page.items[0]
    await recorded.call("start of an ID", lambda: work.wallets.list_page(by_start_of_id(WALLETS)))
    await recorded.call("start of a hold's ID", lambda: work.holds.list_page(by_start_of_id(HOLDS)))
    await recorded.call("get", lambda: work.wallets.get(wallet.id))
    await recorded.call("get by owner", lambda: work.wallets.get_by_owner(Owner(wallet.customer_id, "EUR")))
    mine = ListQuery(TRANSACTIONS.default_ordering, WALLET_ID.is_(wallet.id))
    statement = await recorded.call("statement", lambda: work.ledger_transactions.list_page(mine))
    await recorded.call("get a transaction", lambda: work.ledger_transactions.get(statement.items[0].id))
    paid = Credit(transaction_id=uuid7(), owner=wallet.owner, amount_cents=5, idempotency_key="top-up")
    charged = Deduct(transaction_id=uuid7(), owner=wallet.owner, amount_cents=5, idempotency_key="a")
    await recorded.call("apply", lambda: work.ledger.apply([paid, charged]))
    loss = WriteOff(adjustment_id=uuid7(), deduction_id=uuid7(), owner=wallet.owner, amount_cents=5, job_id=uuid7())
    await recorded.call("write off", lambda: work.ledger.apply([loss]))
    await recorded.call("list holds", lambda: work.holds.list_page(ListQuery(HOLDS.default_ordering)))
    oldest = ListQuery((CREATED_AT.ascending(), ID.ascending()), STATE.is_(HoldState.ACTIVE))
    active_holds = await recorded.call("oldest holds", lambda: work.holds.list_page(oldest))
    hold = active_holds.items[0]
    of_a_job = ListQuery(HOLDS.default_ordering, HOLDS.by_name["job_id"].is_(uuid7()))
    await recorded.call("holds of a job", lambda: work.holds.list_page(of_a_job))
    await list_own_holds(recorded, work, wallet)
    assert await recorded.call("retention", lambda: work.holds.delete_ended(-MINUTE, 10)) == 10
    await recorded.call("get a hold", lambda: work.holds.get(hold.id))
    await recorded.call("release", lambda: work.ledger.apply([ReleaseHold(hold_id=hold.id)]))
    charge = statement.items[1]
    refund = Refund(transaction_id=uuid7(), charge=JobCharge(charge.job_id), amount_cents=0, idempotency_key="back")
    await recorded.call("refund", lambda: work.ledger.apply([refund]))
    await recorded.call("at", lambda: work.ledger_transactions.at(wallet.id, NOW))
    states = await recorded.call("states", lambda: work.books.states(START, 100))
    await recorded.call("chain", lambda: work.books.chain(START, states, 1000))

    await read_audit_log(recorded)
    used = recorded.indexes()
    sequence = "uq_wallet_transactions_wallet_id_sequence"
    owner, key = "uq_wallets_customer_id_currency", "uq_wallet_transactions_wallet_id_idempotency_key"
    # The statement that locks wallets by holds or charges looks for all of these.
    named = {owner, "pk_wallets", "pk_holds", "pk_wallet_transactions", "uq_wallet_transactions_charged_job"}
    meant = AUDIT | {
        "list": {"ix_wallets_created_at"},
        "start of an ID": {"pk_wallets"},
        "start of a hold's ID": {"pk_holds", "pk_wallets"},
        "get": {"pk_wallets"},
        "get by owner": {owner},
        "statement": {"uq_wallet_transactions_wallet_id_sequence"},
        "get a transaction": {"pk_wallet_transactions"},
        "apply": {owner, key, "pk_wallets"},
        "write off": {owner, key, "pk_wallets"},
        "list holds": {"ix_holds_created_at", "pk_wallets"},
        "oldest holds": {"ix_holds_active", "pk_wallets"},
        "holds of a job": {"ix_holds_job_id", "pk_wallets"},
        "own wallets": {owner},
        "own holds": {"ix_holds_wallet_id", "pk_holds", "pk_wallets"},
        "retention": {"ix_holds_created_at", "pk_holds"},
        "get a hold": {"pk_holds", "pk_wallets"},
        "release": named,
        "refund": {"ix_wallet_transactions_refunds", key, *named},
        "at": {"pk_wallets", sequence},
        "states": {"pk_wallets", "ix_holds_active_wallet_id", sequence},
        "chain": {sequence},
    }
    assert {name: used[name] for name in meant} == meant
    assert recorded.all_indexes() - set().union(*used.values()) <= RULES


async def test_the_customers_service_reads_by_index(record: Callable[[str, str], Recorded]) -> None:
    recorded = record("customers", CUSTOMERS_ROWS)
    customers = SqlCustomerRepository(recorded.transactions)
    page = await recorded.call("list", lambda: customers.list_page(ListQuery(CUSTOMERS.default_ordering)))
    customer = page.items[0]
    assert customer.created_at > NOW
    await recorded.call("start of an ID", lambda: customers.list_page(by_start_of_id(CUSTOMERS)))
    await recorded.call("get", lambda: customers.get(customer.id))
    api_keys = SqlApiKeyRepository(recorded.transactions)
    await recorded.call("by key", lambda: api_keys.by_hash(b"\0\0\0\1"))
    own = ListQuery(API_KEYS.default_ordering, CUSTOMER_ID.is_(customer.id))
    await recorded.call("keys", lambda: api_keys.list_page(own))
    await recorded.call("present key", lambda: api_keys.present(customer.id))
    await recorded.call("uses", lambda: api_keys.used([customer.id]))
    await recorded.call("key", lambda: api_keys.get(customer.id))
    await recorded.call("update", lambda: customers.update(customer))

    await read_audit_log(recorded)
    used = recorded.indexes()
    assert used == AUDIT | {
        "list": {"ix_customers_created_at"},
        "start of an ID": {"pk_customers"},
        "get": {"pk_customers"},
        "by key": {"uq_api_keys_hash"},
        "keys": {"ix_api_keys_customer_id"},
        "present key": {"ix_api_keys_customer_id"},
        "uses": {"pk_api_keys"},
        "key": {"pk_api_keys"},
        "update": {"pk_customers"},
    }
    assert recorded.all_indexes() - set().union(*used.values()) <= RULES
