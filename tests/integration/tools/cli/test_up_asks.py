"""`innosystem up` says what it would change in databases that are not its own, and changes nothing without a yes."""

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from services import SERVICES
from tests.conftest import PostgresServer, as_service, migrations, service_role
from tools.cli.__main__ import main

#: The schema of 0.1.0.
BEFORE = "adf7c563dbef"


@pytest.fixture
def others(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """The address of a given database, which a setting names; the other services have none."""
    postgres.create_database(name := f"others_{uuid4().hex}")
    monkeypatch.chdir(tmp_path)
    for service in SERVICES:
        monkeypatch.delenv(f"{service.upper()}_DATABASE_URL", raising=False)
        monkeypatch.delenv(f"{service.upper()}_DATABASE_OWNER_URL", raising=False)
    monkeypatch.setenv("WALLETS_DATABASE_URL", postgres.url(name))
    yield postgres.url(name)
    postgres.drop_database(name)


def tables(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        return {name for (name,) in connection.execute("SELECT relname FROM pg_stat_user_tables")}


def refused(capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["up", "--folder", "stack"]) == 1
    assert not Path("stack").exists()
    told = capsys.readouterr().err
    assert "nothing was done: give --yes to do it" in told
    return told


def test_no_tables_are_made_in_a_database_that_a_setting_names(others: str, capsys: pytest.CaptureFixture[str]) -> None:
    name = others.split("/")[3].partition("?")[0]
    told = refused(capsys)
    assert f"wallets: creates its tables in the database {name} at this machine\n" in told
    assert "examples: 2 customers with 110.00 EUR that nobody paid, unless there are other customers" in told
    assert tables(others) == set()


def test_examples_that_are_not_wanted_are_not_named(others: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["up", "--folder", "stack", "--no-examples"]) == 1
    told = capsys.readouterr().err
    assert "wallets: creates" in told
    assert "examples" not in told


def test_a_database_that_is_behind_is_not_migrated(others: str, capsys: pytest.CaptureFixture[str]) -> None:
    steps = migrations("wallets", others)
    steps.up(BEFORE)
    assert f"from {BEFORE} to {steps.pending()[-1]}" in refused(capsys)
    assert steps.current() == BEFORE


def test_rights_are_not_changed(
    others: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    role = service_role("wallets")
    monkeypatch.setenv("WALLETS_DATABASE_OWNER_URL", others)
    monkeypatch.setenv("WALLETS_DATABASE_URL", as_service("wallets", others))
    migrations("wallets", others).up()
    with psycopg.connect(others, autocommit=True) as connection:
        connection.execute(f"GRANT TRUNCATE ON wallets TO {role}".encode())
    assert f"wallets: changes the rights of the role {role} in the database" in refused(capsys)
    assert migrations("wallets", others).differences() == [
        f"role {role} may TRUNCATE on wallets; the models say it may not"
    ]


def test_the_database_of_another_service_is_refused_by_name(
    others: str,
    capsys: pytest.CaptureFixture[str],
    fresh_database: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WALLETS_DATABASE_URL", fresh_database("jobs"))
    assert main(["up", "--folder", "stack", "--yes"]) == 1
    assert "wallets: this is the database of jobs, not of wallets" in capsys.readouterr().err
