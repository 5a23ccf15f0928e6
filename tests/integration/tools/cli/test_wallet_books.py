"""`innosystem wallets holds`, `refund` and `verify` on a running stack."""

import json
from typing import Any
from uuid import uuid4

import grpc
import psycopg
import pytest

from innosystem.wallets.v1 import wallet_service_pb2 as pb
from innosystem.wallets.v1.wallet_service_pb2_grpc import WalletServiceStub
from tests.integration.tools.cli.conftest import Done, Found, Run
from tests.support.terminal import Typist


@pytest.fixture
def stub(platform_environment: dict[str, str]) -> Any:
    """The service, for what no command does."""
    with grpc.insecure_channel(platform_environment["WALLETS_ADDRESS"]) as channel:
        yield WalletServiceStub(channel)


@pytest.fixture
def wallet(found: Found) -> dict[str, Any]:
    """A wallet with 100 cents."""
    customer_id = str(uuid4())
    made: dict[str, Any] = found("wallets", "create", "--customer-id", customer_id, "--unknown-customer")
    found("wallets", "credit", "--customer-id", customer_id, "--amount-cents", "100", "--yes")
    return made


def place(stub: Any, wallet: dict[str, Any], cents: int) -> pb.PlaceHoldRequest:
    """Reserves money for a job of its own."""
    request = pb.PlaceHoldRequest(
        hold_id=str(uuid4()),
        job_id=str(uuid4()),
        customer_id=wallet["customer_id"],
        currency="EUR",
        amount_cents=cents,
    )
    stub.PlaceHold(request)
    return request


def charge(stub: Any, wallet: dict[str, Any], cents: int) -> Any:
    """Charges a job of its own."""
    job_id = str(uuid4())
    request = pb.DeductRequest(
        customer_id=wallet["customer_id"],
        currency="EUR",
        amount_cents=cents,
        job_id=job_id,
        idempotency_key=f"job:{job_id}",
    )
    return stub.Deduct(request).transaction


def test_holds_are_listed_filtered_and_limited(
    innosystem: Run, found: Found, stub: Any, wallet: dict[str, Any]
) -> None:
    of_wallet = f'wallet_id = "{wallet["id"]}"'
    assert innosystem("wallets", "holds", "--filter", of_wallet).stdout.strip() == "No holds found."
    first, second = place(stub, wallet, 60), place(stub, wallet, 30)
    stub.ReleaseHold(pb.ReleaseHoldRequest(hold_id=first.hold_id))

    listed = found("wallets", "holds", "--filter", of_wallet)

    assert [(one["id"], one["amount_cents"], one["state"]) for one in listed] == [
        (second.hold_id, 30, "HOLD_STATE_ACTIVE"),
        (first.hold_id, 60, "HOLD_STATE_RELEASED"),
    ]
    active = found("wallets", "holds", "--filter", f"{of_wallet} AND state = ACTIVE")
    assert [one["id"] for one in active] == [second.hold_id]
    assert len(found("wallets", "holds", "--filter", of_wallet, "--limit", "1")) == 1
    table = innosystem("wallets", "holds", "--filter", of_wallet)
    assert table.returncode == 0
    assert second.hold_id in table.stdout
    wrong = innosystem("wallets", "holds", "--filter", "colour = red")
    assert wrong.returncode == 1
    assert "INVALID_FILTER: " in wrong.stderr


def test_a_charge_is_refunded_in_parts_and_a_repeated_command_refunds_nothing_more(
    innosystem: Run, found: Found, stub: Any, wallet: dict[str, Any]
) -> None:
    charged = charge(stub, wallet, 50)

    part = innosystem("wallets", "refund", "--job-id", charged.job_id, "--amount-cents", "20", "--json", "--yes")

    response = json.loads(part.stdout)
    assert response["transaction"]["amount_cents"] == 20
    assert response["wallet"]["current_balance_cents"] == 70
    plan, option = part.stderr.splitlines()
    assert plan.startswith(
        f"20 in minor units of the charge of job {charged.job_id}, which is unknown to the jobs service"
    )
    key = option.removeprefix("If this fails, repeat it with: --idempotency-key ")
    again = innosystem(
        "wallets", "refund", "--job-id", charged.job_id, "--amount-cents", "20", "--idempotency-key", key, "--yes"
    )
    assert again.returncode == 0
    assert "The balance is 0.70 EUR." in again.stdout
    assert "Nothing was refunded now" in again.stderr
    rest = innosystem(
        "wallets", "refund", "--transaction-id", charged.id, "--all", "--description", "goodwill", "--yes"
    )
    assert "The balance is 1.00 EUR." in rest.stdout
    lines = found("wallets", "show", wallet["id"])["transactions"]
    assert [(one["amount_cents"], one["description"]) for one in lines[:2]] == [(30, "goodwill"), (20, "")]


@pytest.mark.parametrize("named", [[], ["--job-id", str(uuid4()), "--transaction-id", str(uuid4())]])
def test_a_refund_names_one_charge(innosystem: Run, named: list[str]) -> None:
    done = innosystem("wallets", "refund", *named)

    assert done.returncode == 2
    assert done.stderr == "innosystem: name the charge by --transaction-id or by --job-id\n"


@pytest.mark.parametrize(
    "said",
    [
        [],
        ["--amount-cents", "0"],
        ["--amount", "0EUR"],
        ["--all", "--amount-cents", "5"],
        ["--amount", "0.05EUR", "--amount-cents", "5"],
    ],
)
def test_all_that_is_left_is_refunded_only_when_that_is_said(
    innosystem: Run, found: Found, stub: Any, wallet: dict[str, Any], said: list[str]
) -> None:
    charged = charge(stub, wallet, 50)
    done = innosystem("wallets", "refund", "--transaction-id", charged.id, *said)
    assert done.returncode == 2
    assert "give the amount once: --amount 7.50EUR, or --amount-cents 750, or --all for the rest" in done.stderr
    assert found("wallets", "show", wallet["id"])["wallet"]["current_balance_cents"] == 50


def test_a_refund_is_in_the_currency_of_the_charge(
    innosystem: Run, found: Found, stub: Any, wallet: dict[str, Any]
) -> None:
    charged = charge(stub, wallet, 50)
    wrong = innosystem("wallets", "refund", "--transaction-id", charged.id, "--amount", "20JPY", "--yes")
    assert wrong.returncode == 1
    assert "the charge is in EUR, and --amount in JPY: nothing was refunded" in wrong.stderr
    right = innosystem("wallets", "refund", "--transaction-id", charged.id, "--amount", "0.20EUR", "--yes")
    assert "The balance is 0.70 EUR." in right.stdout
    assert found("wallets", "show", wallet["id"])["wallet"]["current_balance_cents"] == 70


@pytest.mark.parametrize("said", [[], ["--dry-run"], ["--dry-run", "--yes"]])
def test_money_moves_only_when_that_is_agreed_to(
    innosystem: Run, found: Found, stub: Any, wallet: dict[str, Any], said: list[str]
) -> None:
    told = "Nothing was done: --dry-run." if said else "nothing was done: give --yes to do it"
    charged, customer_id = charge(stub, wallet, 50), wallet["customer_id"]
    refund = innosystem("wallets", "refund", "--transaction-id", charged.id, "--amount-cents", "20", *said)
    credit = innosystem("wallets", "credit", "--customer-id", customer_id, "--amount", "7.50EUR", *said)
    everything = innosystem("wallets", "refund", "--transaction-id", charged.id, "--all", *said)
    paid = f"the 0.50 EUR that customer {customer_id} paid for job {charged.job_id}; nothing was refunded before."
    assert f"0.20 EUR is refunded of {paid}\n" in refund.stderr
    assert f"7.50 EUR is paid into the wallet of customer {customer_id}." in credit.stderr
    assert f"0.50 EUR is refunded of {paid}\n" in everything.stderr
    for done in (refund, credit, everything):
        assert told in done.stderr
        assert "--idempotency-key" not in done.stderr
        assert done.returncode == (0 if said else 1)
    assert found("wallets", "show", wallet["id"])["wallet"]["current_balance_cents"] == 50


def test_ctrl_c_at_the_confirmation_ends_the_command_and_moves_nothing(found: Found, wallet: dict[str, Any]) -> None:
    line = ("wallets", "credit", "--customer-id", wallet["customer_id"], "--amount", "1EUR")
    with Typist("import sys; from tools.cli.__main__ import main; sys.exit(main())", *line) as person:
        person.waits_for("Continue? Type yes: ")
        person.types("\x03")
        assert person.ends() == 130
    assert person.screen.endswith("Continue? Type yes: ^C\ninnosystem: nothing was done\n")
    assert found("wallets", "show", wallet["id"])["wallet"]["current_balance_cents"] == 100


@pytest.mark.parametrize(("amount", "shown"), [("500JPY", "500 JPY"), ("5EUR", "5.00 EUR"), ("0.500KWD", "0.500 KWD")])
def test_money_is_typed_and_shown_in_the_units_of_its_currency(
    innosystem: Run, found: Found, amount: str, shown: str
) -> None:
    customer_id, currency = str(uuid4()), amount[-3:]
    found("wallets", "create", "--customer-id", customer_id, "--currency", currency, "--unknown-customer")
    paid = innosystem("wallets", "credit", "--customer-id", customer_id, "--amount", amount, "--yes")
    assert paid.returncode == 0, paid.stderr
    assert f"The balance is {shown}." in paid.stdout
    of_customer = ("--customer-id", customer_id, "--currency", currency)
    assert found("wallets", "show", *of_customer)["wallet"]["current_balance_cents"] == 500
    assert innosystem("wallets", "show", *of_customer).stdout.count(shown) == 4


def test_money_is_paid_into_a_wallet_by_its_id_as_well(innosystem: Run, wallet: dict[str, Any]) -> None:
    paid = innosystem("wallets", "credit", wallet["id"], "--amount", "1EUR", "--yes")
    assert "Its balance is 1.00 EUR now." in paid.stderr
    taken = innosystem("wallets", "deduct", wallet["id"][:30], "--amount-cents", "50", "--yes", "--json")
    line = json.loads(taken.stdout)["transaction"]["id"]
    rest = innosystem("wallets", "refund", "--transaction-id", line, "--amount", "0.20EUR", "--yes")
    assert f"paid for transaction {line}; nothing was refunded before." in rest.stderr
    rest = innosystem("wallets", "refund", "--transaction-id", line, "--all", "--dry-run")
    assert "0.30 EUR is refunded of the 0.50 EUR" in rest.stderr
    other = innosystem("wallets", "credit", wallet["id"], "--amount", "1USD", "--yes")
    assert f"the wallet {wallet['id']} is in EUR, and the amount in USD: nothing was done" in other.stderr


def test_a_wallet_that_does_not_exist_is_named(innosystem: Run, wallet: dict[str, Any]) -> None:
    owner = wallet["customer_id"]
    for command in ("show", "statement"):
        mistaken = innosystem("wallets", command, owner)
        assert f"No wallet has the ID {owner}. Is it a customer's? Then name" in mistaken.stderr
    # Without a question.
    credit = innosystem("wallets", "credit", "--customer-id", owner, "--amount", "5USD", "--dry-run")
    assert credit.returncode == 1
    assert f"The customer {owner} has no wallet in USD: it has to be created first." in credit.stderr


def test_a_wallet_in_no_currency_is_refused(innosystem: Run) -> None:
    done = innosystem("wallets", "create", "--customer-id", str(uuid4()), "--currency", "XQZ", "--unknown-customer")
    assert done.returncode == 1
    assert "currency: must be a currency of ISO 4217 that has a minor unit, such as EUR, not XQZ" in done.stderr


@pytest.mark.parametrize("said", [["--dry-run"], ["--yes"]])
def test_what_is_left_of_a_charge_is_in_the_plan_and_no_more_is_refunded(
    innosystem: Run, found: Found, stub: Any, wallet: dict[str, Any], said: list[str]
) -> None:
    def refund(*amount: str) -> Done:
        return innosystem("wallets", "refund", "--transaction-id", charged.id, *amount)

    charged = charge(stub, wallet, 50)
    paid = f"the 0.50 EUR that customer {wallet['customer_id']} paid for job {charged.job_id}"
    assert refund("--amount", "0.20EUR", "--idempotency-key", "mine", "--yes").returncode == 0
    too_much = refund("--amount", "0.31EUR", *said)
    assert too_much.returncode == 1
    assert f"0.31 EUR is more than is left of {paid}: 0.20 EUR was refunded before. Nothing was" in too_much.stderr
    rest = refund("--all", *said)
    assert rest.returncode == 0
    assert f"0.30 EUR is refunded of {paid}; 0.20 EUR was refunded before.\n" in rest.stderr
    again = refund("--amount", "0.20EUR", "--idempotency-key", "mine", *said)
    assert again.returncode == 0
    assert "0.20 EUR was refunded under this key before: nothing is refunded now." in again.stderr
    if said == ["--yes"]:
        nothing = refund("--all", "--dry-run")
        assert nothing.returncode == 1
        assert f"nothing is left of {paid}: 0.50 EUR was refunded before." in nothing.stderr
        no_charge = innosystem(
            "wallets",
            "refund",
            "--transaction-id",
            found("wallets", "show", wallet["id"])["transactions"][0]["id"],
            "--all",
            "--yes",
        )
        assert "is no charge" in no_charge.stderr


def test_refused_refunds_say_why(innosystem: Run, stub: Any, wallet: dict[str, Any]) -> None:
    charged = charge(stub, wallet, 50)

    unknown = innosystem("wallets", "refund", "--job-id", str(uuid4()), "--all", "--yes")
    too_much = innosystem("wallets", "refund", "--job-id", charged.job_id, "--amount-cents", "51", "--yes")

    assert (unknown.returncode, too_much.returncode) == (1, 1)
    assert "TRANSACTION_NOT_FOUND: " in unknown.stderr
    assert "REFUND_EXCEEDS_CHARGE: " in too_much.stderr
    # Nor does a new key, which would be another payment, mend this.
    reused = [
        innosystem(
            "wallets",
            "credit",
            "--customer-id",
            wallet["customer_id"],
            "--amount",
            amount,
            "--idempotency-key",
            "k",
            "--yes",
        )
        for amount in ("0.05EUR", "0.06EUR")
    ][1]
    assert "other parameters (amount_cents): a new one is for something else." in reused.stderr


def test_verify_sums_the_books_up_and_names_what_does_not_add_up(
    innosystem: Run, found: Found, stub: Any, wallet: dict[str, Any], platform_environment: dict[str, str]
) -> None:
    place(stub, wallet, 60)
    clean = found("wallets", "verify")
    assert clean["ok"]
    assert clean["offenders"] == []
    assert clean["trial_balances"]["EUR"]["funding_cents"] >= 100
    assert "All books add up." in innosystem("wallets", "verify").stdout

    def spoil(cents: int) -> None:
        with psycopg.connect(platform_environment["WALLETS_DATABASE_URL"]) as connection:
            connection.execute(
                "UPDATE wallets SET current_balance_cents = current_balance_cents + %s WHERE id = %s",
                (cents, wallet["id"]),
            )

    spoil(5)
    try:
        text, spoiled = innosystem("wallets", "verify"), innosystem("wallets", "verify", "--json")
    finally:
        spoil(-5)
    assert (text.returncode, spoiled.returncode) == (1, 1)
    assert wallet["id"] in text.stdout
    response = json.loads(spoiled.stdout)
    assert (response["ok"], response["ledger_imbalance_cents"], response["offender_count"]) == (False, 5, 1)
    [offender] = response["offenders"]
    assert offender["wallet_id"] == wallet["id"]
    assert found("wallets", "verify")["ok"]
