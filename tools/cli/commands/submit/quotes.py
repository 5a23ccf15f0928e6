"""`innosystem submit --dry-run`: what jobs would cost, and nothing is submitted."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from innosystem.client import Innosystem
from innosystem.jobs.v1.job_service_pb2 import (
    BatchCancelJobsRequest,
    BatchCreateJobsRequest,
    CreateJobRequest,
    CreateJobResponse,
    JobIds,
    Quote,
)
from tools.cli.commands.job_types.names import suggesting
from tools.cli.commands.submit.job_lines import Batch, Defaults, RefusedLine
from tools.cli.commands.submit.job_options import JobOptions
from tools.cli.commands.submit.one_job import job_request
from tools.cli.commands.submit.submission import in_daemon_thread, refused_line
from tools.cli.output import Output, cell, print_document, print_pairs, to_json
from tools.cli.unit_prices import described
from tools.errors import CommandError


@dataclass
class QuoteReport:
    """What the lines of a file would cost.

    Attributes:
        quotes: The quotes, by the numbers of their lines.
        replayed: The IDs of jobs that were submitted before.
        refused: The lines that would be refused.
    """

    quotes: dict[int, Quote] = field(default_factory=dict)
    replayed: dict[int, str] = field(default_factory=dict)
    refused: list[RefusedLine] = field(default_factory=list)

    @property
    def reserved_cents(self) -> Counter[str]:
        """What all jobs would reserve together, by currency."""
        found: Counter[str] = Counter()
        for quote in self.quotes.values():
            found[quote.currency] += quote.hold_cents
        return found

    def document(self) -> dict[str, Any]:
        """Return the report for programs."""
        return {
            "quoted": len(self.quotes),
            "replayed": len(self.replayed),
            "reserved_cents": dict(self.reserved_cents),
            "quotes": [{"line": line, **to_json(quote)} for line, quote in sorted(self.quotes.items())],
            "errors": [vars(one) for one in self.refused],
        }

    def pairs(self) -> dict[str, str]:
        """Return the report for people."""
        from services.kit.currencies import money

        reserved = [money(cents, currency) for currency, cents in sorted(self.reserved_cents.items())]
        return {
            "quoted": str(len(self.quotes)),
            "replayed": str(len(self.replayed)),
            "refused": str(len(self.refused)),
            "reserved in all": ", ".join(reserved) or "nothing",
        }


async def quote_one(client: Innosystem, named: Defaults, options: JobOptions, key: str, *, output: Output) -> int:
    """Print what one job would cost; return the exit status."""
    request = await job_request(client, named, options, key)
    request.validate_only = True
    async with suggesting(client, named.job_type):
        response = await client.jobs.CreateJob(request)
    await _check(client, response)
    if response.replayed:
        print(f"This job was submitted before, as {response.job.id}: submitting it again does nothing.")
    elif not print_document(response.quote, output):
        print_pairs(_pairs(response.quote))
    return 0


def _pairs(quote: Quote) -> dict[str, str]:
    by_usage = {"by usage": described(quote.metering, quote.currency)} if quote.HasField("metering") else {}
    wallet = {}
    if quote.HasField("balance_cents"):
        now, after = cell(quote, "available_cents"), cell(quote, "available_after_cents")
        balance, charged = cell(quote, "balance_cents"), cell(quote, "balance_after_cents")
        wallet = {"available": f"{now}, {after} after it", "balance": f"{balance}, {charged} at least after its charge"}
    return {"price": cell(quote, "price_cents"), **by_usage, "reserved": cell(quote, "hold_cents"), **wallet}


async def quote_lines(
    client: Innosystem, source: Iterator[Batch], report: QuoteReport, changed: Callable[[], None]
) -> None:
    """Quote all batches.

    Args:
        client: The platform.
        source: The batches.
        report: Receives the outcome of each line.
        changed: Called after each call.
    """
    while (batch := await in_daemon_thread(lambda: next(source, None))) is not None:
        report.refused += batch.malformed
        left = batch.jobs
        while left:
            # The first alone, until it is known that the service submits nothing.
            count = len(left) if report.quotes else 1
            await _quote(client, left[:count], report)
            left = left[count:]
            changed()


async def _quote(client: Innosystem, jobs: Sequence[tuple[int, CreateJobRequest]], report: QuoteReport) -> None:
    for _, request in jobs:
        request.validate_only = True
    asked = BatchCreateJobsRequest(requests=[request for _, request in jobs])
    results = (await client.jobs.BatchCreateJobs(asked)).results
    for (line, request), result in zip(jobs, results, strict=True):
        if result.WhichOneof("result") == "error":
            report.refused.append(refused_line(line, result.error, request.job_id))
            continue
        await _check(client, result.response)
        if result.response.replayed:
            report.replayed[line] = result.response.job.id
        else:
            report.quotes[line] = result.response.quote


async def _check(client: Innosystem, response: CreateJobResponse) -> None:
    """Check that nothing was submitted.

    Raises:
        CommandError: The service does not know quotes. The job that it has accepted is cancelled.
    """
    if response.replayed or response.HasField("quote"):
        return
    accepted = JobIds(job_ids=[response.job.id])
    await client.jobs.BatchCancelJobs(BatchCancelJobsRequest(ids=accepted, reason="submitted by --dry-run"))
    raise CommandError(
        f"the jobs service is of a release without --dry-run: it accepted the job {response.job.id}, which is cancelled"
    )
