"""`innosystem seed`."""

from typing import Annotated

from cyclopts import Parameter

from tools.cli.connect import platform
from tools.cli.output import TEXT, DocumentOutput, cell, print_document
from tools.demo.seed import Seeded, seed


async def seed_command(
    *,
    beside_others: Annotated[
        bool,
        Parameter(negative="", show_default=False, help="Create them even if the platform has other customers."),
    ] = False,
    output: DocumentOutput = TEXT,
) -> None:
    """Create example job types and customers; repeating this changes nothing.

    The customers get money that nobody paid. A platform that has other customers is left unchanged.
    """
    async with platform() as client:
        seeded = await seed(client, beside_others=beside_others)
    customers = [vars(each) for each in seeded.customers]
    if not print_document({"job_types": seeded.job_types, "customers": customers, "made": seeded.created}, output):
        print_seeded(seeded)


def print_seeded(seeded: Seeded) -> None:
    """Print the examples for people."""
    for job_type in seeded.job_types:
        print(f"job type {job_type.name}: {cell(job_type, 'standard_cost_cents')} a job")
    for each in seeded.customers:
        print(f"customer {each.customer.name}: {each.customer.id}")
        print(f"  wallet {each.wallet.id}: {cell(each.wallet, 'current_balance_cents')}")
        if each.api_key:
            print(f"  API key, shown only this once: {each.api_key}")
    print("Created: " + ", ".join(seeded.created) if seeded.created else "All examples exist already.")
