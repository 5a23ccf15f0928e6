"""Whatever is asked in whatever order, WalletService on PostgreSQL returns as the model does."""

from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

import grpc
import pytest
from google.rpc.status_pb2 import Status
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from innosystem.client import InnosystemError, error_from, error_from_status
from innosystem.wallets.v1 import wallet_pb2
from innosystem.wallets.v1 import wallet_service_pb2 as pb
from innosystem.wallets.v1.wallet_service_pb2_grpc import WalletServiceStub
from tests.support.rpc.ledger_model import CURRENCY, JOBS, WALLETS, Model, Outcome, Refusal
from tests.support.rpc.refusals import CODES

SERVICE = "wallets"
# Mostly what leads somewhere: a wallet that exists, and more money than a charge takes.
OWNERS = st.sampled_from([0, 0, 0, 1, 1, 1, WALLETS])
JOB = st.integers(0, JOBS - 1)
CENTS = st.integers(1, 4)
REFUNDED = st.integers(0, 4)
KEYS = st.sampled_from(["r0", "r1", "r2"])
ITEMS = st.lists(st.tuples(OWNERS, JOB, CENTS), min_size=1, max_size=6)


class Requests:
    """The messages for the numbers of the model."""

    def __init__(self) -> None:
        self.customers = [str(uuid4()) for _ in range(WALLETS + 1)]
        self.wallets = [str(uuid4()) for _ in range(WALLETS)]
        self.jobs = [str(uuid4()) for _ in range(JOBS)]
        self.holds = [str(uuid4()) for _ in range(JOBS)]

    def credit(self, wallet: int, job: int, cents: int) -> pb.CreditRequest:
        return pb.CreditRequest(
            customer_id=self.customers[wallet], currency=CURRENCY, amount_cents=cents, idempotency_key=f"c{job}"
        )

    def place(self, wallet: int, job: int, cents: int) -> pb.PlaceHoldRequest:
        return pb.PlaceHoldRequest(
            hold_id=self.holds[job],
            job_id=self.jobs[job],
            customer_id=self.customers[wallet],
            currency=CURRENCY,
            amount_cents=cents,
        )

    def release(self, job: int) -> pb.ReleaseHoldRequest:
        return pb.ReleaseHoldRequest(hold_id=self.holds[job])

    def deduct(self, wallet: int, job: int, cents: int) -> pb.DeductRequest:
        return pb.DeductRequest(
            customer_id=self.customers[wallet],
            currency=CURRENCY,
            amount_cents=cents,
            idempotency_key=f"job:{self.jobs[job]}",
            job_id=self.jobs[job],
            hold_id=self.holds[job],
        )


def refusal_of(error: InnosystemError, expected: Outcome) -> Refusal:
    """What an error says, as far as the model knows its details."""
    assert error.code == CODES[error.reason]
    known = [name for name, _ in expected.details] if isinstance(expected, Refusal) else []
    return Refusal(error.reason, tuple((name, error.metadata[name]) for name in known if name in error.metadata))


def done(response: Any) -> str:
    return "replayed" if response.replayed else "done"


def outcome(method: Callable[[Any], Any], request: Any, expected: Outcome) -> Outcome:
    """What the service makes of a request."""
    try:
        return done(method(request))
    except grpc.RpcError as failure:
        if (error := error_from(failure)) is None:
            raise
        return refusal_of(error, expected)


def likely(number: int, candidates: Sequence[int]) -> int:
    """Mostly one of these, as far as there are any, and now and then any job."""
    return candidates[number % len(candidates)] if candidates and number < 8 * JOBS else number % JOBS


LIKELY = st.integers(0, 9 * JOBS - 1)


class LedgerMachine(RuleBasedStateMachine):
    """Asks the service and the model, and compares the responses and what is there afterwards."""

    stub: WalletServiceStub

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.requests = Requests()
        for wallet_id, customer_id in zip(self.requests.wallets, self.requests.customers[:WALLETS], strict=True):
            self.stub.CreateWallet(pb.CreateWalletRequest(wallet_id=wallet_id, customer_id=customer_id))
        for wallet in range(WALLETS):
            self.credit_wallet(wallet, 0, 7)

    def ask(self, method: Callable[[Any], Any], request: Any, expected: Outcome) -> None:
        assert outcome(method, request, expected) == expected

    def compare(self, results: Sequence[Any], expected: list[Outcome]) -> None:
        responses: list[Outcome] = []
        for result, wanted in zip(results, expected, strict=True):
            error: Status = result.error
            is_done = result.WhichOneof("result") == "response"
            responses.append(done(result.response) if is_done else refusal_of(error_from_status(error), wanted))
        assert responses == expected

    @rule(wallet=OWNERS, job=JOB, cents=CENTS)
    def credit(self, wallet: int, job: int, cents: int) -> None:
        self.credit_wallet(wallet, job, cents)

    def credit_wallet(self, wallet: int, job: int, cents: int) -> None:
        self.ask(self.stub.Credit, self.requests.credit(wallet, job, cents), self.model.credit(wallet, job, cents))

    @rule(wallet=OWNERS, job=JOB, cents=CENTS)
    def deduct_anything(self, wallet: int, job: int, cents: int) -> None:
        self.deduct(wallet, job, cents)

    def deduct(self, wallet: int, job: int, cents: int) -> None:
        self.ask(self.stub.Deduct, self.requests.deduct(wallet, job, cents), self.model.deduct(wallet, job, cents))

    @rule(number=LIKELY, cents=CENTS)
    def deduct_what_is_held(self, number: int, cents: int) -> None:
        active = [job for job, (state, *_) in sorted(self.model.holds.items()) if state == "ACTIVE"]
        job = likely(number, active)
        wallet = self.model.holds[job][1] if job in active else 0
        assert wallet is not None
        self.deduct(wallet, job, cents)

    @rule(items=ITEMS)
    def batch_deduct(self, items: list[tuple[int, int, int]]) -> None:
        asked = pb.BatchDeductRequest(requests=[self.requests.deduct(*item) for item in items])
        self.compare(self.stub.BatchDeduct(asked).results, [self.model.deduct(*item) for item in items])

    @rule(wallet=OWNERS, job=JOB, cents=CENTS)
    def place_hold(self, wallet: int, job: int, cents: int) -> None:
        self.ask(self.stub.PlaceHold, self.requests.place(wallet, job, cents), self.model.place(wallet, job, cents))

    @rule(items=ITEMS)
    def batch_place_holds(self, items: list[tuple[int, int, int]]) -> None:
        asked = pb.BatchPlaceHoldsRequest(requests=[self.requests.place(*item) for item in items])
        self.compare(self.stub.BatchPlaceHolds(asked).results, [self.model.place(*item) for item in items])

    @rule(number=LIKELY)
    def release_hold(self, number: int) -> None:
        job = likely(number, sorted(self.model.holds))
        self.ask(self.stub.ReleaseHold, self.requests.release(job), self.model.release(job))

    @rule(numbers=st.lists(LIKELY, min_size=1, max_size=2))
    def batch_release_holds(self, numbers: list[int]) -> None:
        jobs = [likely(number, sorted(self.model.holds)) for number in numbers]
        asked = pb.BatchReleaseHoldsRequest(requests=[self.requests.release(job) for job in jobs])
        self.compare(self.stub.BatchReleaseHolds(asked).results, [self.model.release(job) for job in jobs])

    @rule(number=LIKELY, cents=REFUNDED, key=KEYS)
    def refund_by_job(self, number: int, cents: int, key: str) -> None:
        job = likely(number, sorted(job for _, job in self.model.charged))
        wallet = self.model.wallet_of(job)
        refunded = wallet if isinstance(wallet, Refusal) else self.model.refund(wallet, job, cents, key, "job_id")
        request = pb.RefundRequest(job_id=self.requests.jobs[job], amount_cents=cents, idempotency_key=key)
        self.ask(self.stub.Refund, request, refunded)

    @rule(wallet=st.integers(0, WALLETS - 1), number=LIKELY, cents=REFUNDED, key=KEYS)
    def refund_by_transaction(self, wallet: int, number: int, cents: int, key: str) -> None:
        job = likely(number, sorted(job for owner, job in self.model.charged if owner == wallet))
        charge = self.model.charged.get((wallet, job))
        if charge is None:
            request = pb.RefundRequest(transaction_id=str(uuid4()), amount_cents=cents, idempotency_key=key)
            self.ask(self.stub.Refund, request, Refusal("TRANSACTION_NOT_FOUND"))
            return
        charged = self.statement(wallet)[charge.sequence - 1]
        request = pb.RefundRequest(transaction_id=charged.id, amount_cents=cents, idempotency_key=key)
        self.ask(self.stub.Refund, request, self.model.refund(wallet, job, cents, key, "transaction_id"))

    def statement(self, wallet: int) -> list[wallet_pb2.Transaction]:
        request = pb.ListTransactionsRequest(wallet_id=self.requests.wallets[wallet], order_by="sequence")
        return list(self.stub.ListTransactions(request).transactions)

    @invariant()
    def wallets_are_as_in_the_model(self) -> None:
        for number, wallet_id in enumerate(self.requests.wallets):
            stored = self.stub.GetWallet(pb.GetWalletRequest(wallet_id=wallet_id)).wallet
            balance, pending = self.model.balance(number), self.model.pending(number)
            assert (stored.current_balance_cents, stored.pending_charges_cents) == (balance, pending)
            assert stored.available_cents == balance - pending >= 0

    def statements_are_as_in_the_model(self) -> None:
        for number in range(WALLETS):
            lines = self.statement(number)
            kind = wallet_pb2.TransactionKind.Name
            found = [
                (kind(line.kind).removeprefix("TRANSACTION_KIND_"), line.amount_cents, line.balance_after_cents)
                for line in lines
            ]
            assert found == self.model.lines[number]
            assert [line.sequence for line in lines] == list(range(1, len(lines) + 1))

    def holds_are_as_in_the_model(self) -> None:
        for job, (state, _, cents) in self.model.holds.items():
            hold = self.stub.GetHold(pb.GetHoldRequest(hold_id=self.requests.holds[job])).hold
            assert wallet_pb2.HoldState.Name(hold.state) == f"HOLD_STATE_{state}"
            assert hold.amount_cents == cents
        for job in set(range(JOBS)) - self.model.holds.keys():
            request = pb.GetHoldRequest(hold_id=self.requests.holds[job])
            with pytest.raises(grpc.RpcError) as failure:
                self.stub.GetHold(request)
            error = error_from(failure.value)
            assert error is not None
            assert error.reason == "HOLD_NOT_FOUND"

    def teardown(self) -> None:
        self.statements_are_as_in_the_model()
        self.holds_are_as_in_the_model()
        self.the_books_add_up()

    def the_books_add_up(self) -> None:
        # Those of the runs before as well, in pages that end within a wallet.
        request = pb.VerifyLedgerRequest(page_size=200)
        while True:
            page = self.stub.VerifyLedger(request)
            assert (list(page.offenders), page.sequence_gaps) == ([], 0)
            assert (page.ledger_imbalance_cents, page.pending_imbalance_cents) == (0, 0)
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token


@pytest.mark.slow
def test_the_service_answers_as_the_model_does(grpc_stub: WalletServiceStub) -> None:
    machine = type("Machine", (LedgerMachine,), {"stub": grpc_stub})
    # Making a failure smaller repeats it for minutes over gRPC, and the time limit would end the test without a word.
    limits = settings(
        max_examples=60,
        stateful_step_count=30,
        deadline=None,
        phases=[Phase.explicit, Phase.reuse, Phase.generate],
        suppress_health_check=[HealthCheck.too_slow],
    )
    run_state_machine_as_test(machine, settings=limits)
