"""The rules of the ledger: the pure function that both repositories apply."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kit.errors import IdempotencyKeyReused, InvalidField
from services.wallets.rules.entities import (
    BALANCE_CENTS_MAX,
    CounterAccount,
    Owner,
    Transaction,
    TransactionKind,
    Wallet,
)
from services.wallets.rules.errors import BalanceOverflow, InsufficientFunds, WalletNotFound
from services.wallets.rules.ledger import Accepted, Decision, Key, LedgerRows, changes, decide
from services.wallets.rules.requests import Credit, Deduct, LedgerRequest

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
CUSTOMER = UUID(int=1)
OWNER = Owner(CUSTOMER, "EUR")


def wallet(balance: int = 0, *, pending: int = 0, owner: Owner = OWNER, **fields: object) -> Wallet:
    made = Wallet(
        id=uuid4(),
        customer_id=owner.customer_id,
        currency=owner.currency,
        current_balance_cents=balance,
        pending_charges_cents=pending,
        created_at=NOW,
        updated_at=NOW,
    )
    return replace(made, **fields)  # type: ignore[arg-type]


def credit(cents: int, key: str, owner: Owner = OWNER, description: str = "") -> Credit:
    return Credit(transaction_id=uuid4(), owner=owner, amount_cents=cents, idempotency_key=key, description=description)


def deduct(cents: int, key: str, owner: Owner = OWNER, hold_id: UUID | None = None) -> Deduct:
    return Deduct(transaction_id=uuid4(), owner=owner, amount_cents=cents, idempotency_key=key, hold_id=hold_id)


def charge(cents: int, job_id: UUID, owner: Owner = OWNER) -> Deduct:
    return Deduct(
        transaction_id=uuid4(), owner=owner, amount_cents=cents, idempotency_key=f"job:{job_id}", job_id=job_id
    )


def decided(wallets: Iterable[Wallet], *requests: LedgerRequest, known: Sequence[Transaction] = ()) -> list[Decision]:
    books = LedgerRows(wallets, {(one.wallet_id, one.idempotency_key): one for one in known})
    return decide(books, requests, LATER)


def accepted(decision: Decision) -> Accepted:
    assert isinstance(decision, Accepted), decision
    return decision


def test_a_credit_adds_to_the_balance_from_the_funding_account() -> None:
    before = wallet(100, last_sequence=4, version=9)
    request = credit(50, "top-up", description="January")
    result = accepted(*decided([before], request))
    assert result.transaction == Transaction(
        id=request.transaction_id,
        wallet_id=before.id,
        sequence=5,
        kind=TransactionKind.CREDIT,
        counter_account=CounterAccount.FUNDING,
        amount_cents=50,
        balance_after_cents=150,
        idempotency_key="top-up",
        description="January",
        created_at=LATER,
    )
    assert result.wallet == replace(before, current_balance_cents=150, last_sequence=5, version=10, updated_at=LATER)
    assert not result.replayed


def test_a_deduction_takes_from_the_balance_into_revenue() -> None:
    job_id = uuid4()
    result = accepted(*decided([wallet(100)], charge(30, job_id)))
    assert (result.transaction.kind, result.transaction.counter_account) == ("DEDUCTION", "REVENUE")
    assert (result.transaction.amount_cents, result.transaction.balance_after_cents) == (-30, 70)
    assert result.transaction.job_id == job_id


def test_a_hold_that_a_deduction_names_is_recorded() -> None:
    hold_id = uuid4()
    result = accepted(*decided([wallet(100)], deduct(30, "a", hold_id=hold_id)))
    assert result.transaction.hold_id == hold_id


def test_a_deduction_may_take_everything_that_is_available() -> None:
    assert accepted(*decided([wallet(100, pending=40)], deduct(60, "a"))).wallet.available_cents == 0


def test_a_deduction_beyond_what_is_available_is_refused_with_the_figures() -> None:
    [refused] = decided([wallet(100, pending=40)], deduct(61, "a"))
    assert isinstance(refused, InsufficientFunds)
    assert refused.metadata == {"available_cents": "60", "required_cents": "61", "currency": "EUR"}


def test_a_refused_request_leaves_its_neighbours_and_the_sequence_alone() -> None:
    first, second, third = decided([wallet(100)], deduct(90, "a"), deduct(20, "b"), deduct(10, "c"))
    assert isinstance(second, InsufficientFunds)
    assert (accepted(first).transaction.sequence, accepted(third).transaction.sequence) == (1, 2)
    assert accepted(third).wallet.current_balance_cents == 0


def test_a_refused_key_is_free_and_may_be_used_again_after_a_credit() -> None:
    refused, _, again = decided([wallet(0)], deduct(10, "a"), credit(10, "b"), deduct(10, "a"))
    assert isinstance(refused, InsufficientFunds)
    assert not accepted(again).replayed


def test_requests_are_applied_in_order_so_a_credit_funds_the_deduction_after_it() -> None:
    results = decided([wallet(0)], credit(100, "a"), deduct(70, "b"))
    assert [accepted(one).wallet.current_balance_cents for one in results] == [100, 30]


def test_a_request_for_an_unknown_wallet_is_refused_alone() -> None:
    elsewhere = Owner(CUSTOMER, "USD")
    missing, found = decided([wallet(100)], deduct(1, "a", elsewhere), deduct(1, "a"))
    assert isinstance(missing, WalletNotFound)
    assert missing.metadata == {"customer_id": str(CUSTOMER), "currency": "USD"}
    assert isinstance(found, Accepted)


def test_the_same_request_again_is_answered_with_the_first_transaction() -> None:
    before = wallet(100)
    first = accepted(*decided([before], deduct(70, "a")))
    again = accepted(*decided([first.wallet], deduct(70, "a"), known=[first.transaction]))
    assert again == Accepted(first.transaction, first.wallet, replayed=True)


def test_the_same_request_twice_in_one_batch_is_applied_once() -> None:
    first, again = decided([wallet(100)], deduct(70, "a"), deduct(70, "a"))
    assert accepted(again) == replace(accepted(first), replayed=True)


def test_a_repeated_request_is_answered_before_the_funds_are_looked_at() -> None:
    first, _, again = decided([wallet(100)], deduct(60, "a"), deduct(40, "b"), deduct(60, "a"))
    assert accepted(again).transaction == accepted(first).transaction
    assert accepted(again).wallet.current_balance_cents == 0


def test_another_description_is_still_the_same_request() -> None:
    first, again = decided([wallet()], credit(1, "a", description="x"), credit(1, "a", description="y"))
    assert accepted(again).replayed
    assert accepted(again).transaction.description == "x" == accepted(first).transaction.description


@pytest.mark.parametrize(
    ("other", "fields"),
    [
        (deduct(71, "a"), ("amount_cents",)),
        (credit(70, "a"), ("idempotency_key",)),
        (deduct(70, "a", hold_id=uuid4()), ("hold_id",)),
        (credit(71, "a"), ("idempotency_key", "amount_cents")),
    ],
)
@pytest.mark.parametrize("in_one_batch", [True, False])
def test_a_key_used_with_other_parameters_is_refused_naming_them(
    other: LedgerRequest, fields: tuple[str, ...], in_one_batch: bool
) -> None:
    first, *rest = decided([wallet(100)], deduct(70, "a"), *([other] if in_one_batch else []))
    done = accepted(first)
    [refused] = rest or decided([done.wallet], other, known=[done.transaction])
    assert isinstance(refused, IdempotencyKeyReused)
    assert refused.fields == fields


def test_a_key_used_for_another_job_is_refused_naming_it() -> None:
    job_id = uuid4()
    before = wallet(100)
    written = replace(accepted(*decided([before], charge(10, job_id))).transaction, job_id=uuid4())
    [refused] = decided([before], charge(10, job_id), known=[written])
    assert isinstance(refused, IdempotencyKeyReused)
    assert refused.fields == ("job_id",)


def test_wallets_have_keys_of_their_own() -> None:
    dollars = Owner(CUSTOMER, "USD")
    results = decided([wallet(9), wallet(9, owner=dollars)], deduct(1, "a"), deduct(2, "a", dollars))
    assert [accepted(one).replayed for one in results] == [False, False]
    assert len(changes(results).wallets) == 2


def test_a_balance_may_reach_the_largest_int64_and_not_pass_it() -> None:
    full, refused = decided([wallet(BALANCE_CENTS_MAX - 1)], credit(1, "a"), credit(1, "b"))
    assert accepted(full).wallet.current_balance_cents == BALANCE_CENTS_MAX
    assert isinstance(refused, BalanceOverflow)


def test_time_on_a_statement_does_not_run_backwards_with_the_clock() -> None:
    result = accepted(*decided([wallet(updated_at=LATER + timedelta(seconds=5))], credit(1, "a")))
    assert result.transaction.created_at == LATER + timedelta(seconds=5)


def test_changes_are_the_new_transactions_and_the_last_state_of_each_wallet() -> None:
    results = decided([wallet(100)], deduct(1, "a"), deduct(1, "a"), deduct(500, "b"), deduct(2, "c"))
    found = changes(results)
    assert [one.idempotency_key for one in found.transactions] == ["a", "c"]
    assert [(one.current_balance_cents, one.last_sequence) for one in found.wallets] == [(97, 2)]


def test_nothing_accepted_changes_nothing() -> None:
    found = changes(decided([wallet(0)], deduct(1, "a")))
    assert (found.transactions, found.wallets) == ([], [])


@pytest.mark.parametrize("cents", [0, -1, BALANCE_CENTS_MAX + 1])
def test_an_amount_is_more_than_nothing_and_fits_an_int64(cents: int) -> None:
    with pytest.raises(InvalidField, match="amount_cents"):
        credit(cents, "a")


def test_a_charge_for_a_job_has_the_key_of_the_job() -> None:
    job_id = uuid4()
    with pytest.raises(InvalidField, match=f"idempotency_key: must be job:{job_id}"):
        Deduct(transaction_id=uuid4(), owner=OWNER, amount_cents=1, idempotency_key="other", job_id=job_id)


@pytest.mark.parametrize("make", [credit, deduct])
def test_only_a_charge_for_a_job_has_the_key_of_a_job(make: Callable[[int, str], LedgerRequest]) -> None:
    with pytest.raises(InvalidField, match="idempotency_key: must not begin with job: unless"):
        make(1, f"job:{uuid4()}")


OWNERS = [Owner(UUID(int=1), "EUR"), Owner(UUID(int=1), "USD"), Owner(UUID(int=2), "EUR"), Owner(UUID(int=3), "EUR")]
AMOUNTS = st.integers(1, 20) | st.sampled_from([2**53, BALANCE_CENTS_MAX - 5, BALANCE_CENTS_MAX])
MONEY = st.builds(
    lambda make, cents, key, owner: make(cents, key, owner),
    st.sampled_from([credit, deduct]),
    AMOUNTS,
    st.sampled_from("abcdefgh"),
    st.sampled_from(OWNERS),
)
CHARGES = st.builds(
    lambda cents, job, owner: charge(cents, UUID(int=job), owner),
    AMOUNTS,
    st.integers(1, 4),
    st.sampled_from(OWNERS),
)
BATCHES = st.lists(st.lists(MONEY | CHARGES, max_size=12), max_size=8)


class Stored:
    """What a database would hold, one batch after the other. The last owner has no wallet."""

    def __init__(self) -> None:
        self.wallets = {one.id: one for one in (wallet(owner=owner) for owner in OWNERS[:-1])}
        self.transactions: dict[Key, Transaction] = {}

    def apply(self, requests: Sequence[LedgerRequest]) -> list[Decision]:
        charged = {one.job_id: one.id for one in self.transactions.values() if one.job_id is not None}
        decisions = decide(LedgerRows(self.wallets.values(), self.transactions, charged=charged), requests, LATER)
        found = changes(decisions)
        self.wallets |= {one.id: one for one in found.wallets}
        self.transactions |= {(one.wallet_id, one.idempotency_key): one for one in found.transactions}
        return decisions

    def statement(self, wallet_id: UUID) -> list[Transaction]:
        lines = [one for one in self.transactions.values() if one.wallet_id == wallet_id]
        return sorted(lines, key=lambda one: one.sequence)


@given(BATCHES)
def test_whatever_is_asked_the_statement_adds_up_without_gaps_and_never_goes_negative(
    batches: list[list[LedgerRequest]],
) -> None:
    books = Stored()
    for batch in batches:
        assert len(books.apply(batch)) == len(batch)
    for found in books.wallets.values():
        lines = books.statement(found.id)
        assert [one.sequence for one in lines] == list(range(1, found.last_sequence + 1))
        assert found.current_balance_cents == sum(one.amount_cents for one in lines)
        balance = 0
        for one in lines:
            balance += one.amount_cents
            assert balance == one.balance_after_cents
            assert 0 <= balance <= BALANCE_CENTS_MAX


@given(BATCHES)
def test_whatever_was_accepted_is_replayed_unchanged_when_it_is_asked_again(
    batches: list[list[LedgerRequest]],
) -> None:
    books = Stored()
    first = {id(request): one for batch in batches for request, one in zip(batch, books.apply(batch), strict=True)}
    wallets, transactions = dict(books.wallets), dict(books.transactions)
    done = [request for batch in batches for request in batch if isinstance(first[id(request)], Accepted)]
    for request, again in zip(done, books.apply(done), strict=True):
        assert accepted(again).replayed
        assert accepted(again).transaction == accepted(first[id(request)]).transaction
    assert (books.wallets, books.transactions) == (wallets, transactions)


@given(st.lists(MONEY | CHARGES, max_size=20), st.integers(0, 20))
def test_how_requests_are_cut_into_batches_makes_no_difference(requests: list[LedgerRequest], at: int) -> None:
    whole, cut = Stored(), Stored()
    cut.wallets = dict(whole.wallets)
    whole.apply(requests)
    cut.apply(requests[:at])
    cut.apply(requests[at:])
    assert (whole.wallets, whole.transactions) == (cut.wallets, cut.transactions)
