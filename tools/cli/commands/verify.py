"""`innosystem verify`. It reads the databases itself, because a check of the services must not rely on them."""

import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter, validators

from services import SERVICES
from services.kit.observability.caller import Caller, caller
from tools.cli.confirmation import DryRun, Yes, confirmed
from tools.cli.connect import platform, user_at_host
from tools.cli.databases import check_databases, schema_behind
from tools.cli.identity import check_same_database
from tools.cli.output import TEXT, DocumentOutput, logs_on_stderr, print_document, print_table
from tools.errors import CommandError
from tools.local.target import announced

if TYPE_CHECKING:
    from uuid import UUID

    from innosystem.client import Innosystem
    from tools.verify.findings import Limits, VerifyReport
    from tools.verify.repair import ReleaseHold

_Grace = Annotated[float, Parameter(validator=validators.Number(gte=0))]


async def verify(
    *,
    grace_seconds: _Grace = 5.0,
    repair: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    output: DocumentOutput = TEXT,
) -> int:
    """Check that all money and all jobs fit together, on a live system as well; the exit status is 1 if they do not.

    The command reads the databases at CUSTOMERS_DATABASE_URL, WALLETS_DATABASE_URL and JOBS_DATABASE_URL, and changes
    nothing without --repair. It needs the settings of the jobs and wallets services (JOBS_HOLD_ORPHAN_SECONDS and so
    on) to judge which work is late.

    Args:
        grace_seconds: How many seconds later suspects are read again; only those that are still wrong are reported.
        repair: Make the safe repairs and print them. The plan is shown first and needs your confirmation; rows that
            have changed by then are left unchanged. The exit status is 1 nevertheless: check again. Holds are released
            through the wallets service at WALLETS_ADDRESS.
    """
    # The author of repairs in the audit trail, as no RPC sets one.
    caller.set(Caller(actor=user_at_host(), method="innosystem verify --repair"))
    if repair and not (yes or dry_run) and not sys.stdin.isatty():
        raise CommandError("nothing was done: give --yes to repair, or --dry-run to see the plan")
    with logs_on_stderr():
        report, repairable = await _verified(timedelta(seconds=grace_seconds), repair=repair, yes=yes, dry_run=dry_run)
    if not print_document(report.to_json(), output):
        _print(report, repairable)
    return 0 if report.ok else 1


async def _verified(grace: timedelta, *, repair: bool, yes: bool, dry_run: bool) -> tuple["VerifyReport", str]:
    """Return the report, and what --repair would do in one line."""
    from services.kit.data.errors import SchemaBehind
    from services.kit.settings import DatabaseSettings, load
    from tools.verify.repair import Proposals, Repairer
    from tools.verify.store.books import open_books
    from tools.verify.verification import verify as verify_books

    urls = announced().database_urls(*SERVICES)
    customers, wallets, jobs = (
        load(DatabaseSettings, f"{name.upper()}_DATABASE_", url=urls[name]) for name in SERVICES
    )
    revisions = await check_databases({"customers": customers, "wallets": wallets, "jobs": jobs})
    limits = _limits(grace)
    books = open_books(customers, wallets, jobs, limits)
    try:
        async with books as opened, _releasing() as release:
            if repair and yes and not dry_run:
                repairer = Repairer(opened.repairs, release)
                return await verify_books(opened.books, limits=limits, repairing=repairer), ""
            proposals = Proposals()
            report = await verify_books(opened.books, limits=limits, repairing=proposals)
            if not repair:
                return report, proposals.summary()
            if not proposals.findings or not confirmed(proposals.plan(), yes=False, dry_run=dry_run):
                return report, ""
            # The state may have changed while the user was deciding: only repairs that were agreed to are made.
            agreed = [one.repair for one in proposals.findings if one.repair is not None]
            repairing = Repairer(opened.repairs, release, set(agreed))
            return await verify_books(opened.books, limits=limits, repairing=repairing), ""
    except SchemaBehind as error:
        raise schema_behind(revisions) from error


def _limits(grace: timedelta) -> "Limits":
    """Return the limits that follow from the settings of the services."""
    from services.jobs.settings import HousekeepingSettings
    from services.kit.settings import load
    from services.wallets.settings import RetentionSettings
    from tools.verify.findings import Limits

    jobs, wallets = load(HousekeepingSettings, "JOBS_"), load(RetentionSettings, "WALLETS_")
    return Limits(grace=grace).allowing(
        housekeeping_every=timedelta(seconds=jobs.housekeeping_seconds),
        settled_after=timedelta(seconds=jobs.settle_after_seconds),
        hold_orphan_after=timedelta(seconds=jobs.hold_orphan_seconds),
        holds_kept=timedelta(days=wallets.holds_retention_days),
    )


@asynccontextmanager
async def _releasing() -> AsyncIterator["ReleaseHold"]:
    from grpc import aio

    from innosystem.wallets.v1.wallet_service_pb2 import ReleaseHoldRequest
    from tools.cli.errors import describe
    from tools.verify.repair import HoldNotReleased

    # Only a repair needs the service. Without one, the databases are all that this command looks at.
    async with AsyncExitStack() as opened:
        client: Innosystem | None = None

        async def release(hold_id: "UUID") -> None:
            nonlocal client
            try:
                if client is None:
                    client = await opened.enter_async_context(platform())
                # The hold was found in the database: its ID means nothing to the service of another platform.
                await check_same_database(announced(), "wallets")
                await client.wallets.ReleaseHold(ReleaseHoldRequest(hold_id=str(hold_id)))
            except (CommandError, aio.AioRpcError) as error:
                # Reported as the outcome of this repair, so that the rest of the report is not lost.
                raise HoldNotReleased(f"not released: {describe(error)}") from error

        yield release


def _print(report: "VerifyReport", repairable: str) -> None:
    from tools.verify.findings import KNOWN_EXCEPTIONS

    print_table(("checked and found", ""), [(name, f"{value:,}") for name, value in report.figures().items()])
    for kind, named in report.offenders.items():
        print(f"\n{kind.value}:")
        print_table(("id", "what"), [(f"{one.subject} {one.id}", one.description) for one in named])
        if (more := report.counts[kind] - len(named)) > 0:
            print(f"and {more:,} more")
    for repaired in (one for named in report.repaired.values() for one in named):
        print(
            f"{'repaired' if repaired.done else 'not repaired'}: {repaired.finding.subject} {repaired.finding.id}: "
            f"{repaired.outcome}"
        )
    if report.repairs:
        print(f"\n{report.repairs:,} repaired. Check again in a few seconds, after the settler has run.")
    unpaid = sum(report.counts[kind] for kind in KNOWN_EXCEPTIONS)
    if unpaid:
        print(f"\nAttention: {unpaid:,} finished jobs are not paid (declined or blocked).")
    if repairable:
        print(f"\ninnosystem verify --repair would make these repairs, after a confirmation: {repairable}.")
    elif not report.ok and not report.repairs:
        print("\nNone of this has a safe repair. docs/verify.md explains what each finding means.")
    verdict = "ok: all books fit together" if report.ok else "NOT OK"
    print(f"\n{verdict} ({report.seconds:.1f} s, {report.suspects:,} suspects read again)")
