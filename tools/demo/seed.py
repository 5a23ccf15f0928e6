"""Example job types and customers for development and demonstrations.

All IDs are fixed, so that seeding is repeatable and examples can name them.
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
ADA: Final = "01990000-0000-7000-8000-000000000201"
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
        customer_id=ADA,
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

#: What the examples are, in words.
EXAMPLES: Final = (
    f"{len(_CUSTOMERS)} customers with {money(sum(each.credit_cents for each in _CUSTOMERS), CURRENCY)} "
    "that nobody paid"
)

T = TypeVar("T")


@dataclass(frozen=True)
class SeededCustomer:
    """An example customer.

    Attributes:
        customer: The customer.
        wallet: Its wallet in euros.
        api_key: Its API key if the customer was just created, else empty: a key is readable only once.
    """

    customer: Customer
    wallet: Wallet
    api_key: str


@dataclass(frozen=True)
class Seeded:
    """The examples after seeding.

    Attributes:
        job_types: The job types.
        customers: The customers with their wallets.
        created: The examples that were missing and have been created, in words.
    """

    job_types: list[JobType] = field(default_factory=list)
    customers: list[SeededCustomer] = field(default_factory=list)
    created: list[str] = field(default_factory=list)


class HasOtherCustomers(CommandError):
    """The platform has customers that are no examples, so examples with invented money are not created beside them."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"this platform has its own customers, such as {name!r}: the examples would stand beside them, with money "
            "that nobody paid. --beside-others creates the examples anyway"
        )


async def seed(platform: Innosystem, *, beside_others: bool = False) -> Seeded:
    """Create the examples that are missing; repeating this changes nothing.

    Args:
        platform: A client of the services.
        beside_others: Whether to create the examples also beside other customers.

    Raises:
        HasOtherCustomers: There are other customers, and an example is missing.
        grpc.RpcError: A service is unreachable, or refuses: another customer has the email of an example, say.
    """
    if not beside_others:
        await _refuse_other_customers(platform)
    seeded = Seeded()
    for job_type in _JOB_TYPES:
        seeded.job_types.append(await _job_type(platform, job_type, seeded.created))
    for each in _CUSTOMERS:
        customer, api_key = await _customer(platform, each, seeded.created)
        wallet = await _wallet(platform, each, seeded.created)
        seeded.customers.append(SeededCustomer(customer, wallet, api_key))
    return seeded


async def _refuse_other_customers(platform: Innosystem) -> None:
    examples = {each.customer_id for each in _CUSTOMERS}
    found = [await _existing_customer(platform, customer_id) for customer_id in examples]
    if all(found):
        return
    listed = await platform.customers.ListCustomers(ListCustomersRequest(page_size=len(examples) + 1))
    for customer in listed.customers:
        if customer.id not in examples:
            raise HasOtherCustomers(customer.name)


async def _job_type(platform: Innosystem, wanted: JobType, created: list[str]) -> JobType:
    found = await if_any(platform.job_types.GetJobType(GetJobTypeRequest(name=wanted.name)), "JOB_TYPE_NOT_FOUND")
    if found:
        return found.job_type
    response = await platform.job_types.CreateJobType(CreateJobTypeRequest(job_type=wanted))
    created.append(f"job type {wanted.name}")
    return response.job_type


async def _customer(platform: Innosystem, wanted: _CustomerSeed, created: list[str]) -> tuple[Customer, str]:
    if found := await _existing_customer(platform, wanted.customer_id):
        return found, ""
    response = await platform.customers.CreateCustomer(
        CreateCustomerRequest(customer_id=wanted.customer_id, name=wanted.name, email=wanted.email)
    )
    created.append(f"customer {wanted.name}")
    return response.customer, response.api_key


async def _existing_customer(platform: Innosystem, customer_id: str) -> Customer | None:
    call = platform.customers.GetCustomer(GetCustomerRequest(customer_id=customer_id))
    found = await if_any(call, "CUSTOMER_NOT_FOUND")
    return found.customer if found else None


async def _wallet(platform: Innosystem, wanted: _CustomerSeed, created: list[str]) -> Wallet:
    owner = WalletOwner(customer_id=wanted.customer_id, currency=CURRENCY)
    found = await if_any(platform.wallets.GetWallet(GetWalletRequest(owner=owner)), "WALLET_NOT_FOUND")
    if not found:
        await platform.wallets.CreateWallet(
            CreateWalletRequest(wallet_id=wanted.wallet_id, customer_id=wanted.customer_id, currency=CURRENCY)
        )
        created.append(f"wallet of {wanted.name}")
    # Also for an existing wallet: the command that created it may have died before this. The key makes the credit
    # happen once.
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
        created.append(f"credit of {money(wanted.credit_cents, CURRENCY)} for {wanted.name}")
    return response.wallet


async def if_any(call: Awaitable[T], missing: str) -> T | None:
    """Await a call, and return None if it fails because the resource does not exist.

    Args:
        call: The call.
        missing: The reason of that failure.
    """
    try:
        return await call
    except grpc.RpcError as error:
        known = error_from(error)
        if known is None or known.reason != missing:
            raise
        return None
