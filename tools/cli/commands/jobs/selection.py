"""The jobs that `innosystem jobs cancel` and `retry` change, and the plan that they show before."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tools.errors import UsageError

if TYPE_CHECKING:
    from innosystem.client import Innosystem
    from innosystem.jobs.v1.job_pb2 import Job

_PAGE: Final = 1000
_COUNTED_MAX: Final = 10_000
# A filter has at most 100 comparisons and 4,096 characters.
_IDS_OF_FILTER: Final = 60


@dataclass(frozen=True)
class JobChange:
    """A change of jobs.

    Attributes:
        done: The state after it, in words.
        money: The effect on the jobs' price, in words.
        statuses: The statuses in which a job can be changed.
    """

    done: str
    money: str
    statuses: tuple[str, ...]


CANCEL: Final = JobChange("cancelled", "that is reserved for them is free again", ("SCHEDULED", "PENDING", "RUNNING"))
RETRY: Final = JobChange("run again", "is reserved for them again", ("FAILED", "CANCELLED"))


@dataclass(frozen=True)
class JobSelection:
    """The jobs that the user names, in one of three ways.

    Attributes:
        ids: The IDs of the jobs.
        filter: An AIP-160 filter.
        everything: Whether to select all jobs of all customers.
        limit: How many to change at most, the oldest first; None for all.
    """

    ids: tuple[str, ...]
    filter: str
    everything: bool
    limit: int | None

    def __post_init__(self) -> None:
        if [bool(self.ids), bool(self.filter), self.everything].count(True) != 1:
            raise UsageError("name the jobs by exactly one of their IDs, --filter or --all")
        if self.filter and not self.filter.strip():
            raise UsageError("a blank filter would select all jobs of all customers: use --all for that")


@dataclass
class JobSummary:
    """A summary of the selected jobs.

    Attributes:
        jobs: The number of jobs.
        more: Whether more jobs exist, which were not counted.
        statuses: The number of jobs by status.
        customers: The IDs of their customers.
        cents: The sum of their prices, by currency.
    """

    jobs: int = 0
    more: bool = False
    statuses: Counter[str] = field(default_factory=Counter)
    customers: set[str] = field(default_factory=set)
    cents: Counter[str] = field(default_factory=Counter)

    def add(self, job: "Job") -> None:
        """Count a job."""
        self.jobs += 1
        self.statuses[status_of(job)] += 1
        self.customers.add(job.customer_id)
        self.cents[job.currency] += job.estimated_cost_cents

    def plan(self, change: JobChange) -> list[str]:
        """Describe the change, a line each for the jobs and the money."""
        from services.kit.currencies import money

        at_least = "more than " if self.more else ""
        jobs = "1 job" if self.jobs == 1 else f"{self.jobs:,} jobs"
        customers = "1 customer" if len(self.customers) == 1 else f"{len(self.customers):,} customers"
        statuses = ", ".join(f"{count:,} {status}" for status, count in sorted(self.statuses.items()))
        amounts = ", ".join(money(cents, currency) for currency, cents in sorted(self.cents.items()))
        return [
            f"To be {change.done}: {at_least}{jobs} of {at_least}{customers} ({statuses}).",
            f"{at_least}{amounts} {change.money}.",
        ]


async def find(client: "Innosystem", selected: JobSelection, change: JobChange) -> JobSummary:
    """Summarize the jobs that a filter selects, or all jobs, without changing them, up to 10,000."""
    from innosystem.jobs.v1.job_service_pb2 import ListJobsRequest

    changeable = " OR ".join(f"status = {status}" for status in change.statuses)
    wanted = f"({selected.filter}) AND ({changeable})" if selected.filter else changeable
    limit = min(selected.limit or _COUNTED_MAX, _COUNTED_MAX)
    request = ListJobsRequest(filter=wanted, order_by="created_at", page_size=min(limit, _PAGE))
    found = JobSummary()
    while found.jobs < limit:
        response = await client.jobs.ListJobs(request)
        for job in response.jobs[: limit - found.jobs]:
            found.add(job)
        request.page_token = response.next_page_token
        if not request.page_token:
            return found
    found.more = limit != selected.limit
    return found


async def read_named(client: "Innosystem", ids: Sequence[str]) -> "dict[str, Job]":
    """Return the jobs that have the IDs, by ID."""
    from innosystem.jobs.v1.job_service_pb2 import ListJobsRequest

    found: dict[str, Job] = {}
    for start in range(0, len(ids), _IDS_OF_FILTER):
        wanted = " OR ".join(f'id = "{one}"' for one in ids[start : start + _IDS_OF_FILTER])
        request = ListJobsRequest(filter=wanted, page_size=_PAGE)
        while True:
            response = await client.jobs.ListJobs(request)
            found |= {job.id: job for job in response.jobs}
            request.page_token = response.next_page_token
            if not request.page_token:
                break
    return found


def plan_of_named(ids: Sequence[str], found: "Mapping[str, Job]", change: JobChange) -> tuple[list[str], list[str]]:
    """Describe the change of jobs that are named one by one.

    Args:
        ids: Their IDs.
        found: Those that exist, by ID.
        change: The change.

    Returns:
        What would be done, and what would not and why, a line each.
    """
    summary, lines, refused = JobSummary(), list[str](), list[str]()
    for one in dict.fromkeys(ids):
        if (job := found.get(one)) is None:
            refused.append(f"Not to be {change.done}: no job has the ID {one}.")
        elif status_of(job) not in change.statuses:
            refused.append(f"Not to be {change.done}: job {one} is {status_of(job)}.")
        else:
            summary.add(job)
            lines.append(f"  {one}")
    return [*summary.plan(change), *lines] if summary.jobs else [], refused


def status_of(job: "Job") -> str:
    """Return the status of a job as it is typed in filters."""
    from innosystem.jobs.v1.job_pb2 import JobStatus

    return JobStatus.Name(job.status).removeprefix("JOB_STATUS_")
