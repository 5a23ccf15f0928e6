"""Job types and customers to try things with, for development and demonstrations.

All IDs are fixed, so that seeding again finds what is there, and examples can name it.
"""

from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Final, TypeVar

import grpc

from innosystem.client import Innosystem, error_from
from innosystem.customers.v1.customer_pb2 import Customer
from innosystem.customers.v1.customer_service_pb2 import CreateCustomerRequest, GetCustomerRequest, ListCustomersRequest
from innosystem.jobs.v1.job_type_pb2 import PROCESSOR_TYPE_SYNC, JobType
from innosystem.jobs.v1.job_type_service_pb2 import CreateJobTypeRequest, GetJobTypeRequest
from innosystem.wallets.v1.wallet_pb2 import Wallet
from innosystem.wallets.v1.wallet_service_pb2 import CreateWalletRequest, CreditRequest, GetWalletRequest, WalletOwner
from services.kit.currencies import money
from tools.errors import CommandError

CURRENCY: Final = "EUR"
SOURCE_STATS: Final = "python.source-stats"
_CREDIT_KEY: Final = "seed:first-credit"

_JOB_TYPES: Final = (
    JobType(
        id="01990000-0000-7000-8000-000000000101",
        name=SOURCE_STATS,
        description="Parses a Python source file and counts lines, functions, classes and cyclomatic complexity.",
        processing_logic_id=SOURCE_STATS,
        processor_type=PROCESSOR_TYPE_SYNC,
        standard_cost_cents=2,
        currency=CURRENCY,
    ),
)


@dataclass(frozen=True)
class _CustomerSeed:
    customer_id: str
    wallet_id: str
    name: str
    email: str
    credit_cents: int


_CUSTOMERS: Final = (
    _CustomerSeed(
        customer_id="01990000-0000-7000-8000-000000000201",
        wallet_id="01990000-0000-7000-8000-000000000301",
        name="Ada Example",
        email="ada@example.com",
        credit_cents=10_000,
    ),
    _CustomerSeed(
        customer_id="01990000-0000-7000-8000-000000000202",
        wallet_id="01990000-0000-7000-8000-000000000302",
        name="Grace Example",
        email="grace@example.com",
        credit_cents=1_000,
    ),
)

T = TypeVar("T")


@dataclass(frozen=True)
class SeededCustomer:
    """A customer to try things with.

    Attributes:
        customer: The customer.
        wallet: Its wallet in euros.
        api_key: Its API key if it was made just now, else empty: nobody can read it again.
    """

    customer: Customer
    wallet: Wallet
    api_key: str


@dataclass(frozen=True)
class Seeded:
    """What there is after seeding.

    Attributes:
        job_types: The job types.
        customers: The customers with their wallets.
        made: What was missing and was made, in words.
    """

    job_types: list[JobType] = field(default_factory=list)
    customers: list[SeededCustomer] = field(default_factory=list)
    made: list[str] = field(default_factory=list)


class OthersAreHere(CommandError):
    """A platform has customers that are no examples: invented ones, with invented money, are not put beside them."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"this platform has customers of its own, such as {name!r}: the examples would stand beside them, with "
            "money that nobody paid. --beside-others makes them all the same"
        )


async def seed(platform: Innosystem, *, beside_others: bool = False) -> Seeded:
    """Makes what is missing. Doing it again changes nothing.

    Args:
        platform: A client of the services.
        beside_others: Whether to make the examples also where there are other customers.

    Raises:
        OthersAreHere: There are, and an example is missing.
        grpc.RpcError: A service can't be reached, or refuses: somebody else has the email of a customer, say.
    """
    if not beside_others:
        await _stay_away_from_others(platform)
    seeded = Seeded()
    for job_type in _JOB_TYPES:
        seeded.job_types.append(await _job_type(platform, job_type, seeded.made))
    for each in _CUSTOMERS:
        customer, api_key = await _customer(platform, each, seeded.made)
        wallet = await _wallet(platform, each, seeded.made)
        seeded.customers.append(SeededCustomer(customer, wallet, api_key))
    return seeded


async def _stay_away_from_others(platform: Innosystem) -> None:
    examples = {each.customer_id for each in _CUSTOMERS}
    found = [await _existing_customer(platform, customer_id) for customer_id in examples]
    if all(found):
        return
    listed = await platform.customers.ListCustomers(ListCustomersRequest(page_size=len(examples) + 1))
    for customer in listed.customers:
        if customer.id not in examples:
            raise OthersAreHere(customer.name)


async def _job_type(platform: Innosystem, wanted: JobType, made: list[str]) -> JobType:
    found = await _if_any(platform.job_types.GetJobType(GetJobTypeRequest(name=wanted.name)), "JOB_TYPE_NOT_FOUND")
    if found:
        return found.job_type
    response = await platform.job_types.CreateJobType(CreateJobTypeRequest(job_type=wanted))
    made.append(f"job type {wanted.name}")
    return response.job_type


async def _customer(platform: Innosystem, wanted: _CustomerSeed, made: list[str]) -> tuple[Customer, str]:
    if found := await _existing_customer(platform, wanted.customer_id):
        return found, ""
    response = await platform.customers.CreateCustomer(
        CreateCustomerRequest(customer_id=wanted.customer_id, name=wanted.name, email=wanted.email)
    )
    made.append(f"customer {wanted.name}")
    return response.customer, response.api_key


async def _existing_customer(platform: Innosystem, customer_id: str) -> Customer | None:
    call = platform.customers.GetCustomer(GetCustomerRequest(customer_id=customer_id))
    found = await _if_any(call, "CUSTOMER_NOT_FOUND")
    return found.customer if found else None


async def _wallet(platform: Innosystem, wanted: _CustomerSeed, made: list[str]) -> Wallet:
    owner = WalletOwner(customer_id=wanted.customer_id, currency=CURRENCY)
    found = await _if_any(platform.wallets.GetWallet(GetWalletRequest(owner=owner)), "WALLET_NOT_FOUND")
    if not found:
        await platform.wallets.CreateWallet(
            CreateWalletRequest(wallet_id=wanted.wallet_id, customer_id=wanted.customer_id, currency=CURRENCY)
        )
        made.append(f"wallet of {wanted.name}")
    # Also for a wallet that was there: who made it may have died before this. The key makes it happen once.
    response = await platform.wallets.Credit(
        CreditRequest(
            customer_id=wanted.customer_id,
            currency=CURRENCY,
            amount_cents=wanted.credit_cents,
            idempotency_key=_CREDIT_KEY,
            description="First credit",
        )
    )
    if not response.replayed:
        made.append(f"credit of {money(wanted.credit_cents, CURRENCY)} for {wanted.name}")
    return response.wallet


async def _if_any(call: Awaitable[T], missing: str) -> T | None:
    """Awaits a call that may find nothing.

    Args:
        call: The call.
        missing: The reason that says so.
    """
    try:
        return await call
    except grpc.RpcError as error:
        known = error_from(error)
        if known is None or known.reason != missing:
            raise
        return None
