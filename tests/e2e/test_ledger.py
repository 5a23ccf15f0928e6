"""Money stays exact with two processes of the wallets service on one database, and when responses are lost."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

import pytest
from grpc.aio import AioRpcError

from innosystem.client import connect, error_from, error_from_status
from innosystem.wallets.v1 import wallet_pb2
from innosystem.wallets.v1 import wallet_service_pb2 as pb
from innosystem.wallets.v1.wallet_service_pb2_grpc import WalletServiceStub
from tests.chaos.support.proxy import Link
from tests.conftest import as_service
from tests.e2e.processes import LIMIT_SECONDS, Process
from tests.support.until import until

if TYPE_CHECKING:
    from innosystem.wallets.v1.wallet_service_pb2_grpc import WalletServiceAsyncStub

T = TypeVar("T")
Stubs = list["WalletServiceAsyncStub"]

WRITERS = 64
CENTS = 100_000


@pytest.fixture
def addresses(tmp_path: Path, fresh_database: Callable[[str], str]) -> Iterator[list[str]]:
    """Two processes of the wallets service on one database."""
    url = as_service("wallets", fresh_database("wallets"))
    settings = {"WALLETS_DATABASE_URL": url, "WALLETS_LISTEN_ADDRESS": "127.0.0.1:0"}
    servers = [Process("services.wallets", environment=settings, folder=tmp_path) for _ in range(2)]
    try:
        yield [server.logged("serving")["address"] for server in servers]
        # Conflicts are repeated, not reported; nothing else may go wrong either.
        entries = [json.loads(line) for server in servers for line in server.output.splitlines()]
        assert [entry for entry in entries if entry["level"] in {"error", "critical"}] == []
        assert [server.stop() for server in servers] == [0, 0]
    finally:
        for server in servers:
            server.kill()


@pytest.fixture
async def stubs(addresses: list[str]) -> AsyncIterator[Stubs]:
    """A client of each process, as the SDK makes them."""
    async with AsyncExitStack() as opened:
        channels = [await opened.enter_async_context(connect(one, deadline_seconds=60)) for one in addresses]
        yield [WalletServiceStub(channel) for channel in channels]


async def funded(stub: "WalletServiceAsyncStub") -> wallet_pb2.Wallet:
    request = pb.CreateWalletRequest(wallet_id=str(uuid4()), customer_id=str(uuid4()))
    wallet = (await stub.CreateWallet(request)).wallet
    credit = pb.CreditRequest(
        customer_id=wallet.customer_id, currency=wallet.currency, amount_cents=CENTS, idempotency_key="top-up"
    )
    return (await stub.Credit(credit)).wallet


def charge(wallet: wallet_pb2.Wallet, cents: int, job_id: str, hold_id: str = "") -> pb.DeductRequest:
    return pb.DeductRequest(
        customer_id=wallet.customer_id,
        currency=wallet.currency,
        amount_cents=cents,
        idempotency_key=f"job:{job_id}",
        job_id=job_id,
        hold_id=hold_id,
    )


def hold(wallet: wallet_pb2.Wallet, job_id: str, hold_id: str) -> pb.PlaceHoldRequest:
    return pb.PlaceHoldRequest(
        customer_id=wallet.customer_id, currency=wallet.currency, amount_cents=9, job_id=job_id, hold_id=hold_id
    )


async def statement(stub: "WalletServiceAsyncStub", wallet: wallet_pb2.Wallet) -> list[wallet_pb2.Transaction]:
    """All lines of a wallet, after a look at whether they add up to its balance."""
    request = pb.ListTransactionsRequest(wallet_id=wallet.id, order_by="sequence", page_size=1000)
    lines = list((await stub.ListTransactions(request)).transactions)
    stored = (await stub.GetWallet(pb.GetWalletRequest(wallet_id=wallet.id))).wallet
    assert [line.sequence for line in lines] == list(range(1, len(lines) + 1))
    assert stored.current_balance_cents == sum(line.amount_cents for line in lines)
    assert lines[-1].balance_after_cents == stored.current_balance_cents
    return lines


async def expect_clean_books(stub: "WalletServiceAsyncStub", wallets: int) -> None:
    """VerifyLedger finds nothing."""
    found = await stub.VerifyLedger(pb.VerifyLedgerRequest(page_size=200_000))
    assert (found.wallets, found.offender_count, found.sequence_gaps) == (wallets, 0, 0)
    assert (found.ledger_imbalance_cents, found.pending_imbalance_cents, found.next_page_token) == (0, 0, "")


class Writer:
    """Places, charges and releases at random, as one of many; each job is one that others are at as well."""

    def __init__(
        self, number: int, stub: "WalletServiceAsyncStub", jobs: list[tuple[wallet_pb2.Wallet, str, str]]
    ) -> None:
        self._random = random.Random(number)
        self._stub = stub
        self._jobs = jobs
        self.reasons: Counter[str] = Counter()
        self.fresh: list[str] = []

    async def run(self) -> None:
        for _ in range(3):
            await self._place()
            await self._charge_together()
            await self._charge_alone()
            await self._release()

    async def _place(self) -> None:
        requests = [hold(*job) for job in self._random.sample(self._jobs, 10)]
        response = await self._stub.BatchPlaceHolds(pb.BatchPlaceHoldsRequest(requests=requests))
        self._count(response.results)

    async def _charge_together(self) -> None:
        requests = [self._charge(job) for job in self._random.sample(self._jobs, 10)]
        response = await self._stub.BatchDeduct(pb.BatchDeductRequest(requests=requests))
        self._count(response.results)
        done = [one.response for one in response.results if one.HasField("response")]
        self.fresh += [one.transaction.job_id for one in done if not one.replayed]

    async def _charge_alone(self) -> None:
        try:
            response = await self._stub.Deduct(self._charge(self._random.choice(self._jobs)))
        except AioRpcError as failure:
            error = error_from(failure)
            self.reasons[str(failure.code()) if error is None else error.reason] += 1
            return
        if not response.replayed:
            self.fresh.append(response.transaction.job_id)

    async def _release(self) -> None:
        requests = [pb.ReleaseHoldRequest(hold_id=hold_id) for *_, hold_id in self._random.sample(self._jobs, 3)]
        response = await self._stub.BatchReleaseHolds(pb.BatchReleaseHoldsRequest(requests=requests))
        self._count(response.results)

    def _charge(self, job: tuple[wallet_pb2.Wallet, str, str]) -> pb.DeductRequest:
        wallet, job_id, hold_id = job
        # Some use the key with another price: it comes first, or is refused, but is never charged besides.
        return charge(wallet, self._random.choice([7, 7, 7, 8]), job_id, hold_id)

    def _count(self, results: Any) -> None:
        self.reasons.update(error_from_status(one.error).reason for one in results if one.HasField("error"))


@pytest.mark.slow
@pytest.mark.parametrize("wallet_count", [1, 10])
async def test_64_writers_on_two_processes_with_duplicates_and_reused_keys_leave_exact_books(
    stubs: Stubs, wallet_count: int
) -> None:
    wallets = [await funded(stubs[0]) for _ in range(wallet_count)]
    chosen = random.Random(wallet_count)
    jobs = [(chosen.choice(wallets), str(uuid4()), str(uuid4())) for _ in range(60)]
    writers = [Writer(number, stubs[number % 2], jobs) for number in range(WRITERS)]

    await asyncio.gather(*(writer.run() for writer in writers))

    # Neither deadlocks nor conflicts come out; there is money enough, so all else is what was asked for twice.
    reasons = sum((writer.reasons for writer in writers), Counter[str]())
    assert reasons.keys() == {"IDEMPOTENCY_KEY_REUSED", "HOLD_NOT_ACTIVE"}
    lines = [line for wallet in wallets for line in await statement(stubs[1], wallet)]
    charged = [line.job_id for line in lines if line.job_id]
    assert len(charged) == len(set(charged)) > len(jobs) / 2
    assert sorted(charged) == sorted(job_id for writer in writers for job_id in writer.fresh)
    assert {-line.amount_cents for line in lines if line.job_id} == {7, 8}
    await expect_clean_books(stubs[0], wallet_count)


@pytest.mark.slow
@pytest.mark.parametrize("wallet_count", [1, 10])
async def test_of_identical_charges_at_once_on_two_processes_exactly_one_is_fresh(
    stubs: Stubs, wallet_count: int
) -> None:
    wallets = [await funded(stubs[0]) for _ in range(wallet_count)]
    chosen = random.Random(wallet_count)
    requests = [charge(chosen.choice(wallets), 7, str(uuid4())) for _ in range(WRITERS)]

    async def twice(request: pb.DeductRequest) -> list[bool]:
        responses = await asyncio.gather(*(stub.Deduct(request) for stub in stubs))
        assert len({response.transaction.id for response in responses}) == 1
        return sorted(response.replayed for response in responses)

    assert await asyncio.gather(*(twice(request) for request in requests)) == [[False, True]] * WRITERS
    lines = [line for wallet in wallets for line in await statement(stubs[1], wallet)]
    assert sum(line.amount_cents for line in lines) == CENTS * wallet_count - 7 * WRITERS
    await expect_clean_books(stubs[1], wallet_count)


@pytest.mark.slow
async def test_a_charge_whose_answer_is_lost_is_repeated_by_the_client_and_made_once(
    addresses: list[str], stubs: Stubs
) -> None:
    wallet = await funded(stubs[1])
    request = pb.GetWalletRequest(wallet_id=wallet.id)

    async def charged() -> bool:
        # One call, not a statement: between its two calls the charge may be made.
        return (await stubs[1].GetWallet(request)).wallet.current_balance_cents == CENTS - 7

    host, _, port = addresses[0].rpartition(":")
    link = Link("wallets", lambda: (host, int(port)))
    await link.start()
    async with AsyncExitStack() as running:
        running.push_async_callback(link.stop)
        channel = await running.enter_async_context(connect(f"127.0.0.1:{link.port}", deadline_seconds=LIMIT_SECONDS))
        client: WalletServiceAsyncStub = WalletServiceStub(channel)
        await client.GetWallet(request)
        link.swallow_replies()
        call = asyncio.ensure_future(client.Deduct(charge(wallet, 7, str(uuid4()))))
        await until(charged)
        assert not call.done()
        link.heal()
        link.reset()
        response = await call

    assert response.replayed
    assert link.accepted == 2
    assert link.bytes_swallowed > 0
    [_, line] = await statement(stubs[1], wallet)
    assert (line.id, line.amount_cents) == (response.transaction.id, -7)
    await expect_clean_books(stubs[1], 1)
