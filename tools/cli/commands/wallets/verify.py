"""`innosystem wallets verify`."""

from collections import Counter
from typing import TYPE_CHECKING, Any

from tools.cli.connect import platform
from tools.cli.options import Json
from tools.cli.output import print_json, print_messages, print_pairs

if TYPE_CHECKING:
    from innosystem.wallets.v1.wallet_service_pb2 import VerifyLedgerResponse

_SUMS = (
    "wallets",
    "transactions",
    "active_holds",
    "sequence_gaps",
    "ledger_imbalance_cents",
    "pending_imbalance_cents",
    "offender_count",
)


async def verify(*, as_json: Json = False) -> int:
    """Check that all books add up; the exit status is 1 if they do not."""
    from innosystem.wallets.v1.wallet_service_pb2 import VerifyLedgerRequest

    request = VerifyLedgerRequest()
    pages: list[VerifyLedgerResponse] = []
    async with platform() as client:
        while not pages or request.page_token:
            pages.append(await client.wallets.VerifyLedger(request))
            request.page_token = pages[-1].next_page_token
    sums = {name: sum(getattr(page, name) for page in pages) for name in _SUMS}
    offenders = [one for page in pages for one in page.offenders]
    ok = not sums["offender_count"]
    if as_json:
        print_json({**sums, "trial_balances": _trials(pages), "offenders": offenders, "ok": ok})
    else:
        print_pairs({name: str(value) for name, value in sums.items()})
        print_messages(offenders, ("wallet_id", "problem", "description"), as_json=False, nothing="All books add up.")
    return 0 if ok else 1


def _trials(pages: "list[VerifyLedgerResponse]") -> dict[str, Any]:
    trials: dict[str, Counter[str]] = {}
    for trial in (trial for page in pages for trial in page.trial_balances):
        sums = trials.setdefault(trial.currency, Counter())
        for descriptor in trial.DESCRIPTOR.fields:
            if descriptor.name != "currency":
                sums[descriptor.name] += getattr(trial, descriptor.name)
    return {currency: dict(sums) for currency, sums in sorted(trials.items())}
