"""A runner can charge nothing but the jobs that it has completed, at their price, whatever it has stolen."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID, uuid4

import grpc
import pytest

from innosystem.jobs.v1 import job_pb2
from innosystem.jobs.v1 import job_service_pb2 as pb
from innosystem.jobs.v1.job_service_pb2_grpc import JobServiceStub, add_JobServiceServicer_to_server
from innosystem.wallets.v1 import wallet_pb2
from innosystem.wallets.v1 import wallet_service_pb2 as wallets_pb
from innosystem.wallets.v1.wallet_service_pb2_grpc import WalletServiceStub, add_WalletServiceServicer_to_server
from services.kit.auth.authentication import Authentication
from services.kit.auth.principal import Kind, Principal
from tests.integration.jobs.conftest import Neighbours, Servicers
from tests.support.rpc.jobs_stack import JobsStack
from tests.support.rpc.loop_thread import AioServer, LoopThread
from tests.support.rpc.promises import promised
from tests.support.rpc.refusals import Refused, Stored, details
from tests.support.rpc.servers import VOUCHERS, wallets_servicer

S = TypeVar("S")


@dataclass(frozen=True)
class As:
    """The services, as a caller of one kind reaches them."""

    jobs: JobServiceStub
    wallets: WalletServiceStub

    def completed(self, world: JobsStack, **values: Any) -> pb.Charge:
        """Run a job; return the charge to make."""
        job, lease_id = world.running(**values)
        done = pb.JobCompletion(job_id=job.id, lease_id=lease_id, output_json="1")
        [result] = self.jobs.CompleteJobs(pb.CompleteJobsRequest(completions=[done])).results
        return result.recorded.charge

    def deduct(self, *requests: wallets_pb.DeductRequest) -> list[wallets_pb.BatchDeductResult]:
        """Charge."""
        return list(self.wallets.BatchDeduct(wallets_pb.BatchDeductRequest(requests=requests)).results)

    def settle(self, job_id: str, **outcome: Any) -> pb.JobSettlementResult:
        """Report what became of a charge."""
        settlement = pb.JobSettlement(job_id=job_id, **outcome)
        [result] = self.jobs.SettleJobs(pb.SettleJobsRequest(settlements=[settlement])).results
        return result


def deduction(charge: pb.Charge, **values: Any) -> wallets_pb.DeductRequest:
    """The request that a runner makes of a charge."""
    request = wallets_pb.DeductRequest(
        customer_id=charge.customer_id,
        currency=charge.currency,
        amount_cents=charge.amount_cents,
        idempotency_key=charge.idempotency_key,
        hold_id=charge.hold_id,
        job_id=charge.job_id,
        charge_token=charge.charge_token,
    )
    for name, value in values.items():
        setattr(request, name, value)
    return request


@pytest.fixture(scope="module")
def reach(
    loop_thread: LoopThread,
    grpc_servicer: Servicers,
    neighbours: Neighbours,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[Kind], As]]:
    """Return the services for a caller of a kind, who has proved it."""
    folder = tmp_path_factory.mktemp("as")
    servers: list[AioServer] = []
    channels: list[grpc.Channel] = []

    def stub(of: type[S], add: Callable[[Any, Any], None], servicer: Any, kind: Kind) -> S:
        caller = Principal(kind=kind, name="one")
        server = AioServer(loop_thread, Authentication(required=True, certificate=lambda _: caller))
        address = f"unix:{folder / str(len(servers))}"
        add(servicer, server)
        server.add_insecure_port(address)
        server.start()
        servers.append(server)
        channels.append(grpc.insecure_channel(address))
        return of(promised(channels[-1]))  # type: ignore[call-arg] # a stub

    with wallets_servicer(loop_thread, neighbours[1].url) as wallets:

        def reached(kind: Kind) -> As:
            return As(
                stub(JobServiceStub, add_JobServiceServicer_to_server, grpc_servicer[0].servicer, kind),
                stub(WalletServiceStub, add_WalletServiceServicer_to_server, wallets, kind),
            )

        yield reached
        for channel in channels:
            channel.close()
        for server in servers:
            server.stop()


@pytest.fixture(scope="module")
def runner(reach: Callable[[Kind], As]) -> As:
    return reach(Kind.RUNNER)


@pytest.fixture(scope="module")
def service(reach: Callable[[Kind], As]) -> As:
    return reach(Kind.SERVICE)


@pytest.fixture
def ledger(neighbours: Neighbours) -> Stored:
    """What the wallets service has stored."""
    return Stored(neighbours[1].url)


def billing(world: JobsStack, job_id: str) -> str:
    return job_pb2.BillingStatus.Name(world.get(job_id).billing_status).removeprefix("BILLING_STATUS_")


def test_a_runner_charges_the_job_that_it_completed_and_settles_it(world: JobsStack, runner: As) -> None:
    charge = runner.completed(world)

    [paid] = runner.deduct(deduction(charge))
    transaction = pb.ChargeTransaction(id=paid.response.transaction.id, receipt=paid.response.receipt)
    settled = runner.settle(charge.job_id, transaction=transaction)

    assert settled.billing_status == job_pb2.BILLING_STATUS_CHARGED
    assert paid.response.transaction.amount_cents == -charge.amount_cents
    assert world.get(charge.job_id).transaction_id == transaction.id


def test_a_single_charge_is_authorised_as_one_of_a_batch(world: JobsStack, runner: As, refused: Refused) -> None:
    charge = runner.completed(world)
    refused(runner.wallets.Deduct, deduction(charge, charge_token=b""), "NOT_ALLOWED")
    assert runner.wallets.Deduct(deduction(charge)).receipt


def test_the_ledger_says_by_which_key_a_charge_was_vouched_for(world: JobsStack, runner: As, service: As) -> None:
    charge, other = runner.completed(world), runner.completed(world)
    [paid] = runner.deduct(deduction(charge))
    [unvouched] = service.deduct(deduction(other))

    shown = [paid.response.transaction, unvouched.response.transaction]
    assert [one.vouched_by for one in shown] == ["of-tests", ""]
    for one in shown:
        read = world.wallets.GetTransaction(wallets_pb.GetTransactionRequest(transaction_id=one.id)).transaction
        listed = world.wallets.ListTransactions(
            wallets_pb.ListTransactionsRequest(wallet_id=one.wallet_id, filter="kind = DEDUCTION")
        ).transactions
        assert [read] == list(listed) == [one]


def spoilt(charge: pb.Charge, other: pb.Charge, receipt: bytes) -> dict[str, wallets_pb.DeductRequest]:
    """What a caller with the credentials of a runner may try, and one charge of its own."""
    bit = bytes([charge.charge_token[-1] ^ 1])
    stranger = str(uuid4())
    return {
        "more than the price": deduction(charge, amount_cents=charge.amount_cents + 1),
        "less than the price": deduction(charge, amount_cents=charge.amount_cents - 1),
        "another customer": deduction(charge, customer_id=other.customer_id),
        "another currency": deduction(charge, currency="USD"),
        "another hold": deduction(charge, hold_id=other.hold_id),
        "no hold": deduction(charge, hold_id=""),
        "another job": deduction(charge, job_id=other.job_id, idempotency_key=f"job:{other.job_id}"),
        "the token of another job": deduction(other, charge_token=charge.charge_token),
        "a job that there is not": deduction(charge, job_id=stranger, idempotency_key=f"job:{stranger}"),
        "no job": deduction(charge, job_id="", hold_id="", idempotency_key=stranger),
        "no token": deduction(charge, charge_token=b""),
        "a forged token": deduction(charge, charge_token=charge.charge_token[:-1] + bit),
        "half a token": deduction(charge, charge_token=charge.charge_token[:50]),
        "a receipt as token": deduction(charge, charge_token=receipt),
    }


def test_a_runner_with_stolen_credentials_can_charge_nothing_but_what_it_completed_at_its_price(
    world: JobsStack, runner: As, ledger: Stored
) -> None:
    done = runner.completed(world)
    [paid] = runner.deduct(deduction(done))
    # Another runner has completed the second: this one learns of it, and has no token.
    charge, other = runner.completed(world), runner.completed(world)
    tried = spoilt(charge, other, paid.response.receipt)

    with ledger.unchanged():
        results = runner.deduct(*tried.values())

    for what, result in zip(tried, results, strict=True):
        assert result.HasField("error"), what
        error = details(result.error, "NOT_ALLOWED")
        assert error.message.startswith("The charge token does not authorise this charge"), what
        assert error.metadata == {"method": "innosystem.wallets.v1.WalletService.Deduct", "kind": "runner"}
    # An item that is refused fails no neighbour.
    mixed = runner.deduct(deduction(charge), next(iter(tried.values())), deduction(other))
    assert [one.WhichOneof("result") for one in mixed] == ["response", "error", "response"]


def test_a_token_that_is_sent_again_charges_once(world: JobsStack, runner: As) -> None:
    charge = runner.completed(world)
    [first], [again] = runner.deduct(deduction(charge)), runner.deduct(deduction(charge, description="again"))

    assert again.response.replayed
    assert again.response.transaction.id == first.response.transaction.id
    assert again.response.receipt == first.response.receipt
    assert world.wallet(charge.customer_id).current_balance_cents == 100_000 - charge.amount_cents


def test_a_repeated_completion_gets_a_token_that_is_good_as_well(world: JobsStack, runner: As) -> None:
    job, lease_id = world.running()
    done = pb.CompleteJobsRequest(completions=[pb.JobCompletion(job_id=job.id, lease_id=lease_id, output_json="1")])
    charges = [runner.jobs.CompleteJobs(done).results[0].recorded.charge for _ in range(2)]

    for charge in charges:
        [paid] = runner.deduct(deduction(charge))
        assert paid.HasField("response")


def test_who_did_not_run_a_job_is_given_no_token(world: JobsStack, runner: As) -> None:
    job, _ = world.running()
    guess = pb.JobCompletion(job_id=job.id, lease_id=str(uuid4()), output_json="1")
    [result] = runner.jobs.CompleteJobs(pb.CompleteJobsRequest(completions=[guess])).results
    details(result.error, "LEASE_LOST")


def test_a_runner_marks_no_job_as_charged_that_the_ledger_has_not_charged_its_cost(
    world: JobsStack, runner: As, stored: Stored
) -> None:
    charge, paid_one = runner.completed(world), runner.completed(world)
    [paid] = runner.deduct(deduction(paid_one))
    transaction, receipt = paid.response.transaction, paid.response.receipt
    tried = [
        pb.ChargeTransaction(id=str(uuid4())),
        pb.ChargeTransaction(id=transaction.id, receipt=receipt),
        pb.ChargeTransaction(id=str(uuid4()), receipt=receipt),
        pb.ChargeTransaction(id=transaction.id, receipt=charge.charge_token),
        # Of another amount: an operator has charged the job by hand, say.
        pb.ChargeTransaction(id=transaction.id, receipt=of_amount(transaction, charge.job_id, 1)),
    ]
    with stored.unchanged():
        results = [runner.settle(charge.job_id, transaction=one) for one in tried]
        results.append(runner.settle(paid_one.job_id, transaction=pb.ChargeTransaction(id=transaction.id)))

    for result in results:
        details(result.error, "NOT_ALLOWED")
    assert billing(world, charge.job_id) == "CHARGE_DUE"


def of_amount(transaction: wallet_pb2.Transaction, job_id: str, amount_cents: int) -> bytes:
    return VOUCHERS.receipt(UUID(transaction.id), UUID(job_id), amount_cents)


def test_only_the_runner_that_completed_a_job_can_report_that_funds_are_missing(world: JobsStack, runner: As) -> None:
    charge, other = runner.completed(world), runner.completed(world)
    for token in (b"", other.charge_token, charge.charge_token[:-1]):
        told = pb.ChargeDeclined(reason="INSUFFICIENT_FUNDS", charge_token=token)
        details(runner.settle(charge.job_id, declined=told).error, "NOT_ALLOWED")
    assert billing(world, charge.job_id) == "CHARGE_DUE"

    told = pb.ChargeDeclined(reason="INSUFFICIENT_FUNDS", charge_token=charge.charge_token)
    assert runner.settle(charge.job_id, declined=told).billing_status == job_pb2.BILLING_STATUS_DECLINED


@pytest.mark.parametrize("reason", ["WALLET_NOT_FOUND", "ALREADY_CHARGED", "HOLD_MISMATCH", "NOT_ALLOWED"])
def test_no_runner_can_block_a_charge(world: JobsStack, runner: As, stored: Stored, reason: str) -> None:
    charge = runner.completed(world)
    told = pb.ChargeDeclined(reason=reason, charge_token=charge.charge_token)
    with stored.unchanged():
        result = runner.settle(charge.job_id, declined=told)
    assert result.billing_status == job_pb2.BILLING_STATUS_CHARGE_DUE


def test_services_need_no_proof(world: JobsStack, service: As, runner: As) -> None:
    charge, declined, blocked = (runner.completed(world) for _ in range(3))
    [paid] = service.deduct(deduction(charge, charge_token=b"nonsense"))
    named = pb.ChargeTransaction(id=paid.response.transaction.id)

    assert service.settle(charge.job_id, transaction=named).billing_status == job_pb2.BILLING_STATUS_CHARGED
    poor, lost = (pb.ChargeDeclined(reason=one) for one in ("INSUFFICIENT_FUNDS", "WALLET_NOT_FOUND"))
    assert service.settle(declined.job_id, declined=poor).billing_status == job_pb2.BILLING_STATUS_DECLINED
    assert service.settle(blocked.job_id, declined=lost).billing_status == job_pb2.BILLING_STATUS_CHARGE_BLOCKED


def test_where_nobody_authenticates_a_runner_of_an_earlier_release_goes_without_proofs(world: JobsStack) -> None:
    job = world.succeeded()
    [paid] = world.wallets.BatchDeduct(
        wallets_pb.BatchDeductRequest(
            requests=[
                wallets_pb.DeductRequest(
                    customer_id=job.customer_id,
                    currency=job.currency,
                    amount_cents=job.cost_cents,
                    idempotency_key=f"job:{job.id}",
                    hold_id=job.hold_id,
                    job_id=job.id,
                )
            ]
        )
    ).results
    named = pb.ChargeTransaction(id=paid.response.transaction.id)
    settlement = pb.JobSettlement(job_id=job.id, transaction=named)
    [settled] = world.jobs.SettleJobs(pb.SettleJobsRequest(settlements=[settlement])).results
    assert settled.billing_status == job_pb2.BILLING_STATUS_CHARGED


def test_where_nobody_authenticates_a_proof_that_is_sent_is_checked(world: JobsStack, ledger: Stored) -> None:
    job, lease_id = world.running()
    [result] = world.complete(pb.JobCompletion(job_id=job.id, lease_id=lease_id, output_json="1"))
    charge = result.recorded.charge
    with ledger.unchanged():
        [refused] = world.wallets.BatchDeduct(
            wallets_pb.BatchDeductRequest(requests=[deduction(charge, amount_cents=1)])
        ).results
    details(refused.error, "NOT_ALLOWED")
    false = pb.JobSettlement(job_id=job.id, transaction=pb.ChargeTransaction(id=str(uuid4()), receipt=b"false"))
    [settled] = world.jobs.SettleJobs(pb.SettleJobsRequest(settlements=[false])).results
    details(settled.error, "NOT_ALLOWED")
