"""A platform of single processes on servers of its own, in which one process dies at a line that a test names."""

import json
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import grpc
import psycopg
import redis
from psycopg.rows import dict_row

from innosystem.jobs.v1.job_service_pb2 import BatchCreateJobsRequest, CreateJobRequest
from innosystem.jobs.v1.job_service_pb2_grpc import JobServiceStub
from services import SERVICES
from tests.chaos.support.books import BooksSnapshot, HoldRow, read_books, read_holds, read_lists
from tests.chaos.support.notes import PLACE, Notes
from tests.chaos.support.oracle import unfinished
from tests.e2e.processes import Process
from tests.e2e.stack import Stack, new_job
from tests.support.until import until_sync
from tools.local.embedded import EmbeddedPostgres, EmbeddedRedis

HANDLERS = "tests.chaos.support.handlers"
COST_CENTS = 5
PAID_IN_CENTS = 100_000

_CRASH_AT = "INNOSYSTEM_CRASH_AT"
_CALL_SECONDS = 15
_SETTINGS = {
    "customers": {},
    "wallets": {},
    "jobs": {
        "JOBS_SETTLE_AFTER_SECONDS": "1",
        "JOBS_RESCUE_GRACE_SECONDS": "2",
        "JOBS_RECONCILE_SECONDS": "1",
        "JOBS_HOUSEKEEPING_SECONDS": "0.3",
    },
}


@dataclass
class Arena:
    """The platform. After each test `restore` has it as it was before.

    Attributes:
        folder: Where everything works.
    """

    folder: Path
    postgres: EmbeddedPostgres
    redis: EmbeddedRedis
    stack: Stack = field(init=False)
    _customer_id: str = ""
    _types: dict[str, str] = field(default_factory=dict)
    _changed: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        urls = {service: self.postgres.url(service) for service in SERVICES}
        self.stack = Stack(self.folder, urls, self.redis.url)
        self.notes_file = self.folder / "notes.jsonl"

    def start(self, service: str, *, crash_at: str = "", **changed: str) -> Process:
        """Start a service where it was before, and wait until it serves.

        Args:
            service: Which.
            crash_at: Where it is to die.
            changed: Settings that it does not have otherwise.
        """
        settings = _SETTINGS[service] | changed
        self._changed.discard(service)
        if crash_at or changed:
            self._changed.add(service)
        if service == "jobs":
            settings["WALLETS_ADDRESS"] = self.stack.addresses["wallets"]
        if crash_at:
            settings[_CRASH_AT] = crash_at
        self.stack.start(service, **settings)
        until_sync(lambda: self._serves(service))
        return self.stack.processes[service]

    def arm(self, service: str, point: str, **changed: str) -> Process:
        """Start a service anew, which will die at a line."""
        return self.restart(service, crash_at=point, **changed)

    def restart(self, service: str, *, crash_at: str = "", **changed: str) -> Process:
        """Stop a service, and start it with other settings."""
        # Should it not stop, it is not what the next test needs.
        self._changed.add(service)
        assert self.stack.processes[service].stop() == 0
        return self.start(service, crash_at=crash_at, **changed)

    def runner(self, *, crash_at: str = "", lease_seconds: float = 2, **settings: str) -> Process:
        """Start a runner."""
        armed = {_CRASH_AT: crash_at} if crash_at else {}
        return self.stack.start_runner(
            HANDLERS,
            **{PLACE: str(self.notes_file), "RUNNER_LEASE_SECONDS": str(lease_seconds), **armed, **settings},
        )

    def restore(self) -> None:
        """End the runners, and start the services anew that have died or are others than they were."""
        for name, process in list(self.stack.processes.items()):
            if name.startswith("runner"):
                process.kill()
                del self.stack.processes[name]
        self.postgres.start()
        self.redis.start()
        for service in SERVICES:
            if service in self._changed or not self.stack.processes[service].running:
                self.stack.processes[service].kill()
                self.start(service)

    def _serves(self, service: str) -> bool:
        with suppress(grpc.RpcError):
            return self.stack.health(service) == "SERVING"
        return False

    def customer(self) -> str:
        """A customer with money enough, the same one each time."""
        if not self._customer_id:
            self._customer_id = self.stack.customer()
            self.stack.wallet(self._customer_id, PAID_IN_CENTS)
        return self._customer_id

    def job_type(self, handler: str = "chaos.returns") -> str:
        """Create a job type. Its jobs have one attempt: whatever uses one up by mistake fails the job."""
        return self.stack.job_type(handler, standard_cost_cents=COST_CENTS, max_attempts=1)

    def request(
        self, handler: str = "chaos.returns", *, job_type: str = "", customer_id: str = "", **inputs: Any
    ) -> CreateJobRequest:
        """A submission, of the handler's type and by the customer with money enough if it does not matter."""
        if not job_type:
            job_type = self._types.get(handler) or self._types.setdefault(handler, self.job_type(handler))
        given = json.dumps({"n": 1, "seconds": 0, **inputs})
        return new_job(customer_id or self.customer(), job_type, given)

    def submit(self, handler: str = "chaos.returns", **inputs: Any) -> str:
        """Submit a job; return its ID."""
        return self.stack.submit(self.request(handler, **inputs)).id

    def submit_many(self, count: int) -> list[str]:
        """Submit jobs in one call; return their IDs."""
        requests = [self.request() for _ in range(count)]
        response = self.stack.jobs.BatchCreateJobs(BatchCreateJobsRequest(requests=requests), timeout=_CALL_SECONDS)
        assert all(result.HasField("response") for result in response.results)
        return [request.job_id for request in requests]

    def row(self, job_id: str) -> dict[str, Any]:
        """A job, as its table has it."""
        with psycopg.connect(self.stack.database_urls["jobs"]) as connection:
            cursor = connection.cursor(row_factory=dict_row)
            return cursor.execute("SELECT * FROM jobs WHERE id = %s", [job_id]).fetchone() or {}

    def state(self, job_id: str) -> tuple[str, str]:
        """Status and billing status of a job."""
        row = self.row(job_id)
        return row["status"], row["billing_status"]

    def until(self, job_id: str, status: str, billing_status: str = "HELD") -> dict[str, Any]:
        """Wait until a job is in a state; return its row."""
        until_sync(lambda: self.state(job_id) == (status, billing_status))
        return self.row(job_id)

    def deductions(self, job_id: str) -> list[tuple[str, int]]:
        """What was taken for a job: the transactions and how much they took."""
        with psycopg.connect(self.stack.database_urls["wallets"]) as connection:
            statement = (
                "SELECT id::text, -amount_cents FROM wallet_transactions WHERE job_id = %s AND kind = 'DEDUCTION'"
            )
            return [(str(made), int(cents)) for made, cents in connection.execute(statement, [job_id]).fetchall()]

    def holds(self, job_id: str) -> list[HoldRow]:
        """What was reserved for a job, in the order of time."""
        return [hold for hold in read_holds(self.stack.database_urls["wallets"]) if hold.job_id == job_id]

    def until_released(self, job_id: str) -> HoldRow:
        """Wait until the one hold of a job is released; return it."""
        until_sync(lambda: [hold.state for hold in self.holds(job_id)] == ["RELEASED"])
        return self.holds(job_id)[0]

    def waiting_ids(self) -> list[str]:
        """The IDs in the lists."""
        with redis.Redis.from_url(self.redis.url, decode_responses=True) as client:
            return [str(job_id) for name in read_lists(self.redis.url) for job_id in client.lrange(name, 0, -1)]

    def executions(self, job_id: str) -> int:
        """How often a handler was called for a job."""
        return Notes.read(self.notes_file).executions(job_id)

    def empty_redis(self) -> None:
        """Has Redis forget everything."""
        with redis.Redis.from_url(self.redis.url) as client:
            client.flushall()

    def submissions(self) -> Callable[[], tuple[str, Callable[[], object]]]:
        """Create calls that submit a job each, and that are repeated as the SDK repeats them."""
        stub = JobServiceStub(self.stack.retrying_channel("jobs"))

        def submission() -> tuple[str, Callable[[], object]]:
            request = self.request()
            return request.job_id, lambda: stub.CreateJob(request, timeout=_CALL_SECONDS)

        self.request()
        return submission

    def expect_rest(self, job_ids: Iterable[str]) -> None:
        """Wait until nothing moves any more, and look that those of the jobs that exist were charged once."""
        books = until_sync(lambda: None if unfinished(found := self._books()) else found, limit_seconds=60)
        assert books is not None
        stored = books.jobs.keys() & set(job_ids)
        assert {books.jobs[job_id].billing_status for job_id in stored} == {"CHARGED"}
        assert sorted(line.job_id for line in books.transactions if line.job_id in stored) == sorted(stored)

    def _books(self) -> BooksSnapshot:
        books = read_books(self.stack.database_urls, self.redis.url)
        # What was reserved for submissions that were never stored is the hold auditor's, and that takes ten minutes.
        return replace(books, holds=tuple(hold for hold in books.holds if hold.job_id in books.jobs))

    def until_begun(self, job_id: str, times: int = 1) -> None:
        """Wait until a handler runs for a job."""
        until_sync(lambda: self.executions(job_id) == times)

    def expect_success(self, *job_ids: str, held: bool = True) -> None:
        """Wait for rest, and look that each job succeeded in its one attempt and was charged once.

        Args:
            job_ids: Which.
            held: Whether it is their hold that paid.
        """
        for job_id in job_ids:
            row = self.until(job_id, "SUCCEEDED", "CHARGED")
            assert row["attempt"] == 1
            assert row["output_data"] == {"n": 1}
            assert self.deductions(job_id) == [(str(row["transaction_id"]), COST_CENTS)]
            *earlier, last = self.holds(job_id)
            assert (last.hold_id, last.amount_cents, last.state) == (
                str(row["hold_id"]),
                COST_CENTS,
                "CAPTURED" if held else "RELEASED",
            )
            assert {hold.state for hold in earlier} <= {"RELEASED"}
        until_sync(lambda: not set(job_ids) & set(self.waiting_ids()))


def expect_death(process: Process) -> None:
    """Wait until a process has died by SIGKILL."""
    until_sync(lambda: not process.running)
    assert process.wait() == -signal.SIGKILL
