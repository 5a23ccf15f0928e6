"""`innosystem seed`."""

from typing import Annotated

from cyclopts import Parameter

from tools.cli.connect import platform
from tools.cli.options import Json
from tools.cli.output import cell, print_json
from tools.demo.seed import Seeded, seed


async def seed_command(
    *,
    beside_others: Annotated[
        bool, Parameter(negative="", show_default=False, help="Make them also on a platform that has other customers.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make the job types and customers to try things with. Doing it again changes nothing.

    The customers get money that nobody paid. A platform that has other customers is left alone.
    """
    async with platform() as client:
        seeded = await seed(client, beside_others=beside_others)
    if as_json:
        customers = [vars(each) for each in seeded.customers]
        print_json({"job_types": seeded.job_types, "customers": customers, "made": seeded.made})
    else:
        print_seeded(seeded)


def print_seeded(seeded: Seeded) -> None:
    """Prints what there is, for people."""
    for job_type in seeded.job_types:
        print(f"job type {job_type.name}: {cell(job_type, 'standard_cost_cents')} a job")
    for each in seeded.customers:
        print(f"customer {each.customer.name}: {each.customer.id}")
        print(f"  wallet {each.wallet.id}: {cell(each.wallet, 'current_balance_cents')}")
        if each.api_key:
            print(f"  API key, shown only this once: {each.api_key}")
    print("Made: " + ", ".join(seeded.made) if seeded.made else "All of it was there.")
