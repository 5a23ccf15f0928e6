"""The customers of the load and their money: who can pay, who pays in when there is too little, and who does not."""

import asyncio
from collections import Counter
from uuid import uuid4

from innosystem.client import Innosystem, InnosystemError
from innosystem.customers.v1.customer_service_pb2 import CreateCustomerRequest
from innosystem.wallets.v1.wallet_service_pb2 import CreateWalletRequest, CreditRequest
from tests.chaos.support.calls import CALL_SECONDS, Calls
from tests.chaos.support.oracle import INSUFFICIENT_FUNDS
from tests.chaos.support.submissions import Submission

# Customers: two can always pay; one is nearly broke, and pays in what is missing when there was too little; one pays
# nothing in. Those two are refused when they have no money, and nobody else.
RICH_CENTS, LOW_CENTS = 1_000_000, 40
CUSTOMERS = {"ada": RICH_CENTS, "bob": RICH_CENTS, "low": LOW_CENTS, "dry": LOW_CENTS}
TOPPED_UP, DRY = "low", "dry"


class Money:
    """What customers have and pay in.

    Attributes:
        customers: Their IDs, by name.
        flooding: The ID of one more, whose jobs cost nothing, and are very many.
        neighbour: The ID of one more, who is rich, and whom no fault is meant for.
        credited_cents: What was paid in, by customer.
    """

    def __init__(self, clients: Innosystem, calls: Calls) -> None:
        self._clients = clients
        self._calls = calls
        self.customers = {name: str(uuid4()) for name in CUSTOMERS}
        self.flooding, self.neighbour = str(uuid4()), str(uuid4())
        self.credited_cents: Counter[str] = Counter()
        # What is missing for the jobs of the customer who pays in, by job ID; paid is forgotten.
        self._missing_cents: dict[str, int] = {}

    async def prepare(self) -> None:
        """Create customers and wallets."""
        others = {"flooding": self.flooding, "neighbour": self.neighbour}
        for name, customer_id in {**self.customers, **others}.items():
            customer = CreateCustomerRequest(customer_id=customer_id, name=name, email=f"{customer_id}@example.com")
            await self._clients.customers.CreateCustomer(customer)
        for name, customer_id in {**self.customers, "neighbour": self.neighbour}.items():
            await self._clients.wallets.CreateWallet(CreateWalletRequest(customer_id=customer_id))
            await self._credit(customer_id, CUSTOMERS.get(name, RICH_CENTS))

    @property
    def may_be_refused(self) -> frozenset[str]:
        """The customer who may learn that there is no money, and stays with that."""
        return frozenset({self.customers[DRY]})

    def comes_again(self, submission: Submission, failure: InnosystemError) -> bool:
        """Whether money was missing that will be paid in."""
        if failure.reason != INSUFFICIENT_FUNDS:
            return False
        submission.short += 1
        if submission.customer_id != self.customers[TOPPED_UP]:
            return False
        self._missing_cents[submission.job_id] = submission.kind.cost_cents
        return True

    def is_waited_for(self, submission: Submission) -> bool:
        """Whether money is missing for a job."""
        return submission.job_id in self._missing_cents

    def is_there(self, submission: Submission) -> None:
        """Forgets that money was missing for a job."""
        self._missing_cents.pop(submission.job_id, None)

    async def top_up(self) -> None:
        """Pays for what is missing just now, so that there is repeatedly too little."""
        if missing := sum(self._missing_cents.values()):
            self._missing_cents.clear()
            await self._credit(self.customers[TOPPED_UP], missing)

    async def _credit(self, customer_id: str, cents: int) -> None:
        request = CreditRequest(
            customer_id=customer_id, currency="EUR", amount_cents=cents, idempotency_key=str(uuid4())
        )
        await self.pay(request)

    async def pay(self, request: CreditRequest) -> None:
        """Pay in until that gets a response. What may have arrived already is counted once, by its key."""
        self.credited_cents[request.customer_id] += request.amount_cents
        credit = asyncio.ensure_future(
            self._calls.until_returned(lambda: self._clients.wallets.Credit(request, timeout=CALL_SECONDS))
        )
        # Begun is begun: money that may have arrived is not given up on.
        await asyncio.shield(credit)
