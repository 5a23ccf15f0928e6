"""`innosystem wallets verify`."""

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter, validators

from tools.cli.connect import platform
from tools.cli.money import WHOLE
from tools.cli.output import TEXT, Columns, DocumentOutput, field, print_document, print_list, print_pairs

if TYPE_CHECKING:
    from innosystem.wallets.v1.wallet_service_pb2 import VerifyLedgerResponse

_OFFENDERS = Columns(
    (field("wallet_id", usual=36), field("problem", usual=20), field("description", cut=24)), name="wallet_id"
)
_SUMS = (
    "wallets",
    "transactions",
    "active_holds",
    "sequence_gaps",
    "ledger_imbalance_cents",
    "pending_imbalance_cents",
    "offender_count",
)


async def verify(
    *,
    max_offenders: Annotated[int, WHOLE, Parameter(validator=validators.Number(gte=1, lte=1000))] = 20,
    output: DocumentOutput = TEXT,
) -> int:
    """Check that all books add up; the exit status is 1 if they do not.

    Args:
        max_offenders: How many wallets with wrong books to name at most, per thousand wallets; all are counted.
    """
    from innosystem.wallets.v1.wallet_service_pb2 import VerifyLedgerRequest

    request = VerifyLedgerRequest(max_offenders=max_offenders)
    pages: list[VerifyLedgerResponse] = []
    async with platform() as client:
        while not pages or request.page_token:
            pages.append(await client.wallets.VerifyLedger(request))
            request.page_token = pages[-1].next_page_token
    sums = {name: sum(getattr(page, name) for page in pages) for name in _SUMS}
    offenders = [one for page in pages for one in page.offenders]
    ok = not sums["offender_count"]
    if output.format in ("csv", "name"):
        print_list(offenders, _OFFENDERS, output, nothing="")
    elif not print_document({**sums, "trial_balances": _trials(pages), "offenders": offenders, "ok": ok}, output):
        print_pairs({name.replace("_", " "): f"{value:,}" for name, value in sums.items()})
        print_list(offenders, _OFFENDERS, output, nothing="All books add up.")
    return 0 if ok else 1


def _trials(pages: "list[VerifyLedgerResponse]") -> dict[str, Any]:
    trials: dict[str, Counter[str]] = {}
    for trial in (trial for page in pages for trial in page.trial_balances):
        sums = trials.setdefault(trial.currency, Counter())
        for descriptor in trial.DESCRIPTOR.fields:
            if descriptor.name != "currency":
                sums[descriptor.name] += getattr(trial, descriptor.name)
    return {currency: dict(sums) for currency, sums in sorted(trials.items())}
