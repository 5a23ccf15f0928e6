"""What Prometheus reads of the books at the metrics endpoint of the wallets service."""

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen
from uuid import uuid4

import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from innosystem.wallets.v1 import wallet_service_pb2 as pb
from services import SERVICES
from tests.e2e.stack import Stack
from tests.support.until import until_sync

METRICS = {"WALLETS_METRICS_LISTEN_ADDRESS": "127.0.0.1:0"}


@pytest.fixture
def stack(tmp_path: Path, fresh_database: Callable[[str], str]) -> Iterator[Stack]:
    made = Stack(tmp_path, {service: fresh_database(service) for service in SERVICES}, "")
    yield made
    made.close()


def read(stack: Stack) -> dict[str, float]:
    """The gauges of the books, by what is after the prefix and by currency."""
    address = stack.processes["wallets"].logged("metrics")["address"]
    with urlopen(f"http://{address}/metrics", timeout=10) as response:
        text = response.read().decode()
    return {
        ":".join([sample.name.removeprefix("innosystem_wallets_"), *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if family.type == "gauge"
        and sample.name.startswith("innosystem_wallets_")
        and not sample.name.endswith("_created")
    }


@pytest.mark.slow
def test_the_endpoint_tells_what_is_held_and_when_the_books_do_not_add_up(stack: Stack) -> None:
    stack.start("wallets", WALLETS_VERIFY_SECONDS="0.1", **METRICS)
    wallet = stack.wallet(str(uuid4()), 100)
    hold = pb.PlaceHoldRequest(
        hold_id=str(uuid4()), job_id=str(uuid4()), customer_id=wallet.customer_id, currency="EUR", amount_cents=60
    )
    stack.wallets.PlaceHold(hold)

    until_sync(lambda: read(stack).get("held_cents:EUR") == 60)
    clean = read(stack)

    assert (clean["balance_cents:EUR"], clean["active_holds:EUR"]) == (100, 1)
    assert 0 < clean["oldest_active_hold_seconds:EUR"] < 120
    faults = ("ledger_imbalance_cents", "pending_imbalance_cents", "sequence_gaps")
    assert [clean[name] for name in faults] == [0, 0, 0]
    with psycopg.connect(stack.database_urls["wallets"]) as connection:
        connection.execute(
            "UPDATE wallets SET current_balance_cents = 105, pending_charges_cents = 62, last_sequence = 3"
        )
    until_sync(lambda: read(stack).get("ledger_imbalance_cents"))
    assert [read(stack)[name] for name in faults] == [5, 2, 1]
    stack.processes["wallets"].logged("books_unbalanced", offenders=3)


@pytest.mark.slow
def test_without_the_check_there_are_no_figures_of_the_books(stack: Stack) -> None:
    stack.start("wallets", WALLETS_VERIFY_SECONDS="0", **METRICS)
    stack.wallet(str(uuid4()), 100)

    assert read(stack) == {}
