"""`innosystem demo`: the platform's work from end to end, on real input, with the books checked at the end."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter, validators

from services.kit.currencies import money
from tools.cli.money import WHOLE
from tools.cli.output import NOTHING, console, print_table
from tools.demo.books import DemoFindings
from tools.demo.run import DemoResult, Progress, demo_folder, demo_settings, run
from tools.demo.seed import CURRENCY
from tools.demo.work import PRICE_CENTS, ComplexModule
from tools.errors import CommandError
from tools.local.stack import Stack
from tools.local.steps import Steps
from tools.local.stopping import until_stopped

_LINES_A_RUN = 5


async def demo(
    *,
    jobs: Annotated[
        int | None,
        WHOLE,
        Parameter(validator=validators.Number(gte=1), help="How many jobs to submit at most; by default one per file."),
    ] = None,
    json: Annotated[Path | None, Parameter(help="Where to write the figures as JSON.")] = None,
    folder: Annotated[Path | None, Parameter(help="Where to keep the data; removed at the end if not given.")] = None,
) -> int:
    """Run jobs on real input, charge them to three wallets and check the books.

    The input is the source files of Python's standard library. The demo has its own stack, on free ports, and its own
    databases: on servers that *_DATABASE_URL name it creates new ones, drops them at the end, and leaves all others
    untouched. The exit status is 1 if a check fails.
    """
    if json is not None and not json.parent.is_dir():
        raise CommandError(f"{json}: the folder {json.parent} does not exist")
    with demo_folder(folder) as used, demo_settings() as settings:
        result = await until_stopped(run(Stack(used, settings=settings, step=Steps()), jobs, _progress))
    _print(result)
    if json is not None:
        _write(json, result.summary())
    return 1 if result.findings.problems else 0


@contextmanager
def _progress(jobs: int) -> Iterator[Progress]:
    """Show the progress of the jobs: as bars on a terminal, else as a line now and then."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as ProgressBars

    target = console()
    if not target.is_terminal:
        yield Progress(_lines("submitted", jobs), _lines("settled", jobs))
        return
    columns = (TextColumn("{task.description:>9}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with ProgressBars(*columns, console=target) as bars:
        submitted, settled = (bars.add_task(name, total=jobs) for name in ("submitted", "settled"))
        yield Progress(
            lambda done: bars.update(submitted, completed=done), lambda done: bars.update(settled, completed=done)
        )


def _lines(name: str, jobs: int) -> Callable[[int], None]:
    printed = 0

    def update(done: int) -> None:
        nonlocal printed
        if done == jobs or (done - printed) * _LINES_A_RUN >= jobs:
            printed = done
            print(f"{name} {done} of {jobs}", flush=True)

    return update


def _print(result: DemoResult) -> None:
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
        [_row(module) for module in result.most_complex],
    )
    print()
    _print_checks(result.findings)


def _row(module: ComplexModule) -> list[str]:
    most = module.output["most_complex"]
    function = f"{most['name']} ({most['complexity']})" if most else NOTHING
    return [module.name, *(str(module.output[key]) for key in ("complexity", "functions", "lines")), function]


def _print_checks(findings: DemoFindings) -> None:
    for problem in findings.problems:
        print(f"PROBLEM  {problem}")
    if not findings.problems:
        print("ok  no accepted job is lost, and all are done")
        print("ok  every succeeded job was charged exactly once, and no other")
        print("ok  jobs were refused only where the money did not suffice, before any work was done for them")
        print("ok  each wallet's balance is the sum of its ledger, and what it was before less the charges")


def _write(file: Path, summary: dict[str, Any]) -> None:
    file.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
