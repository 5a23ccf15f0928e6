"""Charge tokens and receipts authorise and show exactly what they were made for, and nothing else."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from services.kit.auth.principal import ANYONE, Kind, Principal
from services.kit.charges.keys import KeyRing, new_key
from services.kit.charges.vouchers import TOKEN_LIFE, Charge, Vouchers

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY, OLD_KEY = new_key("of-2026"), new_key("of-2025")
CHARGE = Charge(uuid4(), uuid4(), "EUR", 500, uuid4())
TRANSACTION = uuid4()
A_BIT = 0x01


def vouchers(*keys: object, now: datetime = NOW) -> Vouchers:
    return Vouchers(lambda: KeyRing(keys or (KEY,)), lambda: now)  # type: ignore[arg-type] # keys, as given


def token(charge: Charge = CHARGE) -> bytes:
    return vouchers().charge_tokens()(charge)


def receipt() -> bytes:
    return vouchers().receipt(TRANSACTION, CHARGE.job_id, CHARGE.amount_cents)


def test_a_token_authorises_its_charge_and_tells_by_which_key() -> None:
    assert vouchers().authorising_key(CHARGE, token()) == "of-2026"


@pytest.mark.parametrize("charge", [CHARGE._replace(hold_id=None), CHARGE._replace(amount_cents=2**63 - 1)])
def test_a_charge_without_a_hold_and_one_of_all_the_money_in_a_wallet_are_authorised(charge: Charge) -> None:
    assert vouchers().authorising_key(charge, token(charge))


@pytest.mark.parametrize(
    "other",
    [
        CHARGE._replace(job_id=uuid4()),
        CHARGE._replace(customer_id=uuid4()),
        CHARGE._replace(currency="USD"),
        CHARGE._replace(amount_cents=501),
        CHARGE._replace(amount_cents=499),
        CHARGE._replace(hold_id=uuid4()),
        CHARGE._replace(hold_id=None),
        CHARGE._replace(job_id=CHARGE.customer_id, customer_id=CHARGE.job_id),
    ],
)
def test_a_token_authorises_no_other_charge(other: Charge) -> None:
    assert vouchers().authorising_key(other, token()) is None


def test_a_token_for_a_charge_without_a_hold_is_not_one_for_the_hold_of_zeros() -> None:
    zeros = CHARGE._replace(hold_id=type(CHARGE.job_id)(int=0))
    assert vouchers().authorising_key(zeros, token(CHARGE._replace(hold_id=None))) is None


@pytest.mark.parametrize("made", [token, receipt])
def test_one_that_differs_in_any_bit_or_was_cut_or_lengthened_is_refused(made: Callable[[], bytes]) -> None:
    good = made()
    forged = [bytes([*good[:at], good[at] ^ A_BIT, *good[at + 1 :]]) for at in range(len(good))]
    for bad in (*forged, *(good[:length] for length in range(len(good))), good + b"\0", b"x" * 4096):
        assert vouchers().authorising_key(CHARGE, bad) is None
        assert not vouchers().authorises_charge_of(CHARGE.job_id, bad)
        assert vouchers().amount_charged(bad, TRANSACTION, CHARGE.job_id) is None


def test_a_token_is_valid_for_its_life_and_not_a_second_longer() -> None:
    in_time, late = NOW + TOKEN_LIFE, NOW + TOKEN_LIFE + timedelta(seconds=1)
    assert vouchers(now=in_time).authorising_key(CHARGE, token())
    assert vouchers(now=late).authorising_key(CHARGE, token()) is None
    assert not vouchers(now=late).authorises_charge_of(CHARGE.job_id, token())


def test_what_another_key_of_the_same_id_signed_is_refused() -> None:
    stranger = vouchers(new_key("of-2026"))
    assert stranger.authorising_key(CHARGE, token()) is None
    assert stranger.amount_charged(receipt(), TRANSACTION, CHARGE.job_id) is None


def test_what_an_unknown_key_signed_is_refused() -> None:
    assert vouchers(OLD_KEY).authorising_key(CHARGE, token()) is None
    assert vouchers(OLD_KEY).amount_charged(receipt(), TRANSACTION, CHARGE.job_id) is None


def test_what_a_key_signed_is_valid_until_the_key_is_removed_whichever_signs() -> None:
    for keys in ((KEY,), (OLD_KEY, KEY), (KEY, OLD_KEY)):
        assert vouchers(*keys).authorising_key(CHARGE, token()) == "of-2026"
        assert vouchers(*keys).amount_charged(receipt(), TRANSACTION, CHARGE.job_id) == CHARGE.amount_cents


def test_a_receipt_is_no_token_and_a_token_no_receipt() -> None:
    assert vouchers().authorising_key(CHARGE, receipt()) is None
    assert not vouchers().authorises_charge_of(CHARGE.job_id, receipt())
    assert vouchers().amount_charged(token(), TRANSACTION, CHARGE.job_id) is None
    # Not only because their lengths differ.
    assert KEY.mac(b"charge", b"same") != KEY.mac(b"receipt", b"same")


def test_a_token_names_the_job_that_may_be_declined_and_no_other() -> None:
    assert vouchers().authorises_charge_of(CHARGE.job_id, token())
    assert not vouchers().authorises_charge_of(CHARGE.customer_id, token())


def test_a_receipt_shows_the_amount_of_its_transaction_for_its_job() -> None:
    shown = vouchers().amount_charged
    assert shown(receipt(), TRANSACTION, CHARGE.job_id) == CHARGE.amount_cents
    assert shown(receipt(), uuid4(), CHARGE.job_id) is None
    assert shown(receipt(), TRANSACTION, uuid4()) is None


def test_without_keys_nothing_is_signed_and_nothing_is_valid() -> None:
    without = Vouchers(lambda: KeyRing(()), lambda: NOW)
    assert without.charge_tokens()(CHARGE) == without.receipt(TRANSACTION, CHARGE.job_id, 5) == b""
    for proof in (b"", token()):
        assert without.authorising_key(CHARGE, proof) is None
        assert not without.authorises_charge_of(CHARGE.job_id, proof)


@pytest.mark.parametrize(
    ("kind", "proof", "keys", "must"),
    [
        (Kind.RUNNER, b"", (), True),
        (Kind.RUNNER, b"", (KEY,), True),
        (Kind.CLIENT, b"", (KEY,), True),
        (Kind.SERVICE, b"x", (KEY,), False),
        (Kind.OPERATOR, b"x", (KEY,), False),
        (None, b"", (KEY,), False),
        (None, b"x", (), False),
        (None, b"x", (KEY,), True),
    ],
)
def test_runners_must_prove_what_they_say_and_where_nobody_authenticates_a_proof_is_checked_if_it_can_be(
    kind: Kind | None, proof: bytes, keys: tuple[object, ...], must: bool
) -> None:
    caller = ANYONE if kind is None else Principal(kind=kind, name="one")
    made = Vouchers(lambda: KeyRing(keys), lambda: NOW)  # type: ignore[arg-type] # keys, as given
    assert made.must_prove(caller, proof) is must
