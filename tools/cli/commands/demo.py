"""`innosystem demo`: the main job, end to end, on real input, with the books checked at the end."""

import asyncio
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter, validators

from innosystem.client import Innosystem, new_id
from services import SERVICES
from services.kit.currencies import money
from tools.cli.money import WHOLE
from tools.cli.output import console, print_table
from tools.demo.books import Books, Findings, audit
from tools.demo.seed import CURRENCY
from tools.demo.sources import sources
from tools.demo.work import (
    PRICE_CENTS,
    make_job_type,
    most_complex,
    open_accounts,
    read_books,
    rest,
    submit,
)
from tools.errors import CommandError
from tools.local.environment import environment, owner_variable
from tools.local.own_databases import own_database
from tools.local.stack import Stack
from tools.local.stopping import until_stopped

_MOST_COMPLEX = 10
_SETTINGS = ("CUSTOMERS_", "WALLETS_", "JOBS_", "REDIS_", "RUNNER_")
_SERVERS = frozenset({"REDIS_URL", *(f"{service.upper()}_DATABASE_POOLED" for service in SERVICES)})


@dataclass(frozen=True)
class Result:
    """What the demo found."""

    books: Sequence[Books]
    findings: Findings
    most_complex: Sequence[tuple[str, dict[str, Any]]]
    seconds: float

    def summary(self) -> dict[str, Any]:
        """The figures, under their fixed names."""
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


async def demo(
    *,
    jobs: Annotated[
        int | None,
        WHOLE,
        Parameter(validator=validators.Number(gte=1), help="How many jobs to submit at most; all files if not given."),
    ] = None,
    json: Annotated[Path | None, Parameter(help="Where to write the figures as JSON.")] = None,
    folder: Annotated[Path | None, Parameter(help="Where to keep the data; removed at the end if not given.")] = None,
) -> int:
    """Run jobs on real input, charge them to three wallets and check the books.

    The input is the source files of Python's standard library. The stack is the demo's own, on free ports, and so are
    its databases: on servers that *_DATABASE_URL name it makes new ones, and drops them at the end. What is in others
    is not touched. The exit status is 1 if a check fails.
    """
    if json is not None and not json.parent.is_dir():
        raise CommandError(f"{json}: there is no folder {json.parent}")
    with _folder(folder) as used, _own_settings() as settings:
        result = await until_stopped(_run(Stack(used, settings=settings), jobs))
    _print(result)
    if json is not None:
        _write(json, result.summary())
    return 1 if result.findings.problems else 0


@contextmanager
def _own_settings() -> Iterator[Mapping[str, str]]:
    """Takes servers from the environment, if it names any, and nothing that others have on them.

    A platform's own settings may be in force where a demo is tried: its jobs must not meet the demo's runner, nor its
    customers the demo's. So there are databases and lists of the demo's own, whatever the settings name.
    """
    given = environment()
    settings = {name: value for name, value in given.items() if not name.startswith(_SETTINGS) or name in _SERVERS}
    # What is set here counts, whatever a .env says.
    settings |= {"RUNNER_QUEUES": "default", "REDIS_KEY_PREFIX": f"demo-{new_id()}:"}
    with ExitStack() as opened:
        for service in SERVICES:
            variable = f"{service.upper()}_DATABASE_URL"
            # A service's role may make no databases.
            server = owner_variable(service) if owner_variable(service) in given else variable
            if server in given:
                settings[variable] = own_database(server, given[server], f"demo_{service}", opened)
        yield settings


@contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    if given is not None:
        yield given
        return
    made = Path(tempfile.mkdtemp(prefix="innosystem-demo-"))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


async def _run(stack: Stack, jobs: int | None) -> Result:
    files = sources(jobs)
    print(f"Starting PostgreSQL, Redis, three services and a runner for {len(files)} jobs ...", flush=True)
    async with stack, Innosystem(**stack.addresses) as platform, asyncio.TaskGroup() as tasks:
        watch = tasks.create_task(stack.watch())
        result = await _work(platform, files)
        watch.cancel()
    return result


async def _work(platform: Innosystem, files: Sequence[tuple[str, str]]) -> Result:
    accounts = await open_accounts(platform, len(files))
    job_type = await make_job_type(platform)
    began = time.perf_counter()
    with _progress(len(files)) as (submitted, settled):
        submitted_by = await submit(platform, job_type, accounts, files, submitted)
        await rest(platform, accounts, len(files), settled)
    seconds = time.perf_counter() - began
    books = [await read_books(platform, one, submitted_by[one.customer_id]) for one in accounts]
    return Result(books, audit(books), await most_complex(platform, job_type, _MOST_COMPLEX), seconds)


@contextmanager
def _progress(jobs: int) -> Iterator[tuple[Callable[[int], None], Callable[[int], None]]]:
    """Shows how far the jobs are: bars on a terminal, else a line now and then."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    target = console()
    if not target.is_terminal:
        yield _lines("submitted", jobs), _lines("settled", jobs)
        return
    columns = (TextColumn("{task.description:>9}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=target) as progress:
        bars = [progress.add_task(name, total=jobs) for name in ("submitted", "settled")]
        yield tuple(lambda done, bar=bar: progress.update(bar, completed=done) for bar in bars)  # type: ignore[misc]


def _lines(name: str, jobs: int) -> Callable[[int], None]:
    told = 0

    def tell(done: int) -> None:
        nonlocal told
        if done == jobs or (done - told) * 5 >= jobs:
            told = done
            print(f"{name} {done} of {jobs}", flush=True)

    return tell


def _print(result: Result) -> None:
    summary = result.summary()
    print(f"\n{summary['jobs_submitted']} jobs at {money(PRICE_CENTS, CURRENCY)} in {result.seconds:.1f} s\n")
    print_table(
        ["customer", "accepted", "refused", "succeeded", "failed", "charged", "before", "after"],
        [
            [
                one.name,
                *(str(len(ids)) for ids in (one.submitted, one.refused)),
                *(str(number) for number in (one.count("SUCCEEDED"), one.count("FAILED"))),
                str(one.count_billing("CHARGED")),
                *(money(cents, CURRENCY) for cents in (one.balance_before_cents, one.balance_after_cents)),
            ]
            for one in result.books
        ],
    )
    print("\nThe most complex modules of the standard library:\n")
    print_table(
        ["module", "complexity", "functions", "lines", "most complex function"],
        [
            [name, *(str(found[key]) for key in ("complexity", "functions", "lines")), _function(found)]
            for name, found in result.most_complex
        ],
    )
    print()
    _print_checks(result.findings)


def _function(found: dict[str, Any]) -> str:
    most = found["most_complex"]
    return f"{most['name']} ({most['complexity']})" if most else "-"


def _print_checks(findings: Findings) -> None:
    for problem in findings.problems:
        print(f"PROBLEM  {problem}")
    if not findings.problems:
        print("ok  no accepted job is lost, and all are done")
        print("ok  every succeeded job was charged exactly once, and no other")
        print("ok  jobs were refused only where the money did not suffice, before any work was done for them")
        print("ok  each wallet's balance is the sum of its ledger, and what it was before less the charges")


def _write(file: Path, summary: dict[str, Any]) -> None:
    file.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
