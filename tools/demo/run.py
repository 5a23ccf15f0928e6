"""One run of the demo: a stack, jobs on real input, and the check of the books."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from innosystem.client import Innosystem, new_id
from services import SERVICES
from tools.demo.books import CustomerBooks, DemoFindings, check_books
from tools.demo.sources import SourceFile, source_files
from tools.demo.work import (
    ComplexModule,
    create_job_type,
    most_complex,
    open_accounts,
    read_books,
    submit,
    wait_until_settled,
)
from tools.local.environment import database_servers, database_variable, environment
from tools.local.stack import Stack
from tools.local.temporary_databases import temporary_database

_MOST_COMPLEX = 10
_SETTINGS = ("CUSTOMERS_", "WALLETS_", "JOBS_", "REDIS_", "RUNNER_")
_SERVERS = frozenset({"REDIS_URL", *(f"{service.upper()}_DATABASE_POOLED" for service in SERVICES)})


class Progress(NamedTuple):
    """Callbacks that receive the number of jobs so far."""

    submitted: Callable[[int], None]
    settled: Callable[[int], None]


ShowProgress: TypeAlias = Callable[[int], AbstractContextManager[Progress]]
"""Shows the progress of so many jobs for the time of a block."""


@dataclass(frozen=True)
class DemoResult:
    """The outcome of a run."""

    books: Sequence[CustomerBooks]
    findings: DemoFindings
    most_complex: Sequence[ComplexModule]
    seconds: float

    def summary(self) -> dict[str, Any]:
        """Return the figures, under their fixed names."""
        return {
            "jobs_submitted": sum(len(one.submitted) for one in self.books),
            "jobs_refused": sum(len(one.refused) for one in self.books),
            "jobs_succeeded": sum(one.count("SUCCEEDED") for one in self.books),
            "jobs_failed": sum(one.count("FAILED") for one in self.books),
            "jobs_charged": sum(one.count_billing("CHARGED") for one in self.books),
            "jobs_declined": sum(one.count_billing("DECLINED") for one in self.books),
            "double_charges": self.findings.double_charges,
            "missing_charges": self.findings.missing_charges,
            "ledger_imbalance_cents": self.findings.ledger_imbalance_cents,
            "problems": self.findings.problems,
            "seconds": round(self.seconds, 3),
        }


@contextmanager
def demo_settings() -> Iterator[Mapping[str, str]]:
    """Yield the settings of the demo's stack, which take only servers from the environment.

    The settings of a platform may be in force where the demo is run, and the demo must share neither jobs nor
    customers with that platform. Therefore the demo has its own databases and lists, whatever the settings name.
    """
    given = environment()
    settings = {name: value for name, value in given.items() if not name.startswith(_SETTINGS) or name in _SERVERS}
    # A value set here overrides the file `.env`.
    settings |= {"RUNNER_QUEUES": "default", "REDIS_KEY_PREFIX": f"demo-{new_id()}:"}
    with ExitStack() as opened:
        for service, server in database_servers(given).items():
            settings[database_variable(service)] = temporary_database(server, f"demo_{service}", opened)
        yield settings


@contextmanager
def demo_folder(given: Path | None) -> Iterator[Path]:
    """Yield the folder of the stack: the given one, or a temporary one."""
    if given is not None:
        yield given
        return
    folder = Path(tempfile.mkdtemp(prefix="innosystem-demo-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def run(stack: Stack, jobs: int | None, show_progress: ShowProgress) -> DemoResult:
    """Start the stack, run the jobs, and check the books.

    Args:
        stack: The stack, not yet started.
        jobs: How many jobs to submit at most; None for a job per source file.
        show_progress: Shows how many jobs are submitted and settled.
    """
    files = source_files(jobs)
    print(f"Starting a platform for {len(files)} jobs:", flush=True)
    async with stack, stack.client() as platform, asyncio.TaskGroup() as tasks:
        watch = tasks.create_task(stack.watch())
        result = await _work(platform, files, show_progress)
        watch.cancel()
    return result


async def _work(platform: Innosystem, files: Sequence[SourceFile], show_progress: ShowProgress) -> DemoResult:
    accounts = await open_accounts(platform, len(files))
    job_type = await create_job_type(platform)
    began = time.perf_counter()
    with show_progress(len(files)) as progress:
        submitted = await submit(platform, job_type, accounts, files, progress.submitted)
        await wait_until_settled(platform, accounts, len(files), progress.settled)
    seconds = time.perf_counter() - began
    books = [await read_books(platform, one, submitted[one.customer_id]) for one in accounts]
    return DemoResult(books, check_books(books), await most_complex(platform, job_type, _MOST_COMPLEX), seconds)
