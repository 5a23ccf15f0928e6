"""The check of the demo's books: whether jobs and money agree. Pure, so that tests can forge books."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class JobEntry:
    """A job as the jobs service reports it; cost_cents is 0 if it did not succeed."""

    job_id: str
    status: str
    billing_status: str
    cost_cents: int = 0


@dataclass(frozen=True)
class LedgerEntry:
    """A line of a wallet's statement; amounts are signed, and job_id is empty if the line belongs to no job."""

    kind: str
    amount_cents: int
    job_id: str = ""


@dataclass(frozen=True)
class CustomerBooks:
    """The jobs and the money of one customer, as the services report them.

    Attributes:
        name: The customer's name.
        balance_before_cents: The balance before the first job was submitted.
        balance_after_cents: The balance after the last one was settled.
        held_cents: The amount that is still reserved then.
        price_cents: The price of a job.
        submitted: The IDs of the jobs that were accepted.
        refused: The IDs of the jobs that were refused for lack of money.
        jobs: All jobs of the customer.
        ledger: The wallet's statement.
    """

    name: str
    balance_before_cents: int
    balance_after_cents: int
    held_cents: int
    price_cents: int
    submitted: Sequence[str]
    refused: Sequence[str]
    jobs: Sequence[JobEntry]
    ledger: Sequence[LedgerEntry]

    def count(self, status: str) -> int:
        """Return the number of jobs with a status."""
        return sum(job.status == status for job in self.jobs)

    def count_billing(self, billing_status: str) -> int:
        """Return the number of jobs with a billing status."""
        return sum(job.billing_status == billing_status for job in self.jobs)

    @property
    def charged_cents(self) -> int:
        """The sum of all charges in the ledger."""
        return -sum(entry.amount_cents for entry in self.ledger if entry.kind == "DEDUCTION")


@dataclass
class DemoFindings:
    """Everything that is wrong, in numbers and words; zero and empty if the books agree."""

    double_charges: int = 0
    missing_charges: int = 0
    ledger_imbalance_cents: int = 0
    problems: list[str] = field(default_factory=list)


def check_books(books: Sequence[CustomerBooks]) -> DemoFindings:
    """Check that no accepted job is lost, that exactly the succeeded jobs are charged once, and that the sums agree."""
    findings = DemoFindings()
    for one in books:
        _check_submission(one, findings)
        _check_jobs(one, findings)
        _check_balance(one, findings)
    return findings


def _check_submission(books: CustomerBooks, findings: DemoFindings) -> None:
    listed = {job.job_id for job in books.jobs}
    for job_id in sorted(set(books.submitted) - listed):
        findings.problems.append(f"{books.name}: job {job_id} was accepted and is lost")
    for job_id in sorted(listed - set(books.submitted)):
        what = "refused" if job_id in books.refused else "not submitted"
        findings.problems.append(f"{books.name}: job {job_id} exists and was {what}")
    # The price of a failed job was reserved when others were refused, and was released after that.
    spare_cents = books.balance_after_cents - books.count("FAILED") * books.price_cents
    if books.refused and spare_cents >= books.price_cents:
        findings.problems.append(f"{books.name}: {len(books.refused)} jobs were refused, and there is money for one")


def _check_jobs(books: CustomerBooks, findings: DemoFindings) -> None:
    deductions = [entry for entry in books.ledger if entry.kind == "DEDUCTION"]
    times = Counter(entry.job_id for entry in deductions)
    taken = {entry.job_id: -entry.amount_cents for entry in deductions}
    for job in books.jobs:
        charges = times.pop(job.job_id, 0)
        findings.double_charges += max(0, charges - 1)
        if charges > 1:
            findings.problems.append(f"{books.name}: job {job.job_id} was charged {charges} times")
        _check_job(books, job, charges, taken.get(job.job_id, 0), findings)
    for job_id in times:
        findings.problems.append(f"{books.name}: a charge for job {job_id!r}, which is not among the customer's jobs")


def _check_job(books: CustomerBooks, job: JobEntry, charges: int, taken_cents: int, findings: DemoFindings) -> None:
    if job.status not in ("SUCCEEDED", "FAILED"):
        findings.problems.append(f"{books.name}: job {job.job_id} is still {job.status}")
    if job.status != "SUCCEEDED":
        if charges:
            findings.problems.append(f"{books.name}: job {job.job_id} is {job.status} and was charged")
        return
    if not charges or job.billing_status != "CHARGED":
        findings.missing_charges += not charges
        findings.problems.append(
            f"{books.name}: job {job.job_id} succeeded and is {job.billing_status}, {charges} charges"
        )
    elif taken_cents != job.cost_cents:
        findings.problems.append(f"{books.name}: job {job.job_id} costs {job.cost_cents} and was charged {taken_cents}")


def _check_balance(books: CustomerBooks, findings: DemoFindings) -> None:
    imbalance = books.balance_after_cents - sum(entry.amount_cents for entry in books.ledger)
    findings.ledger_imbalance_cents += abs(imbalance)
    if imbalance:
        findings.problems.append(f"{books.name}: the balance is {imbalance} cents off the sum of the ledger")
    if books.held_cents:
        findings.problems.append(f"{books.name}: {books.held_cents} cents are still held")
    if books.balance_before_cents - books.charged_cents != books.balance_after_cents:
        findings.problems.append(f"{books.name}: the balance before, less the charges, is not the balance after")
