"""Databases that are set for the wrong service are named before anything is written."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from services import SERVICES
from tests.conftest import PostgresServer, migrations
from tools.cli.__main__ import main

Set = Callable[..., None]


@pytest.fixture
def databases(fresh_database: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """Databases of the three services, which the environment names."""
    monkeypatch.chdir(tmp_path)
    urls = {service: fresh_database(service) for service in SERVICES}
    for service, url in urls.items():
        monkeypatch.setenv(f"{service.upper()}_DATABASE_URL", url)
        monkeypatch.delenv(f"{service.upper()}_DATABASE_OWNER_URL", raising=False)
    return urls


@pytest.fixture
def empty(postgres: PostgresServer) -> Iterator[Callable[[str], str]]:
    """Create empty databases."""
    names: list[str] = []

    def create(name: str) -> str:
        names.append(name)
        postgres.create_database(name)
        return postgres.url(name)

    yield create
    for name in names:
        postgres.drop_database(name)


COMMANDS = [
    *(("verify",), ("audit", "list", "jobs")),
    *(("migrate", command) for command in ("up", "current", "history", "check", "sql")),
    ("up", "--yes", "--folder", "stack"),
]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_database_of_another_service_is_named(
    arguments: tuple[str, ...],
    databases: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("JOBS_DATABASE_URL", databases["wallets"])
    assert main(arguments) == 1
    done = capsys.readouterr()
    assert "the database of wallets, not of jobs" in done.err
    assert "JOBS_DATABASE_URL" in done.err
    assert done.out == ""


@pytest.mark.parametrize("arguments", [("verify",), ("migrate", "up"), ("migrate", "check")], ids=" ".join)
def test_two_databases_that_are_mixed_up_are_named(
    arguments: tuple[str, ...],
    databases: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("JOBS_DATABASE_URL", databases["wallets"])
    monkeypatch.setenv("WALLETS_DATABASE_URL", databases["jobs"])
    assert main(arguments) == 1
    assert "the database of jobs, not of wallets" in capsys.readouterr().err


def test_nothing_is_written_if_a_later_database_is_of_another_service(
    databases: dict[str, str],
    empty: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = empty("swapped_customers")
    monkeypatch.setenv("CUSTOMERS_DATABASE_URL", first)
    monkeypatch.setenv("JOBS_DATABASE_URL", databases["wallets"])
    assert main(["migrate", "up"]) == 1
    assert migrations("customers", first).current() is None
    assert "the database of wallets, not of jobs" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [("migrate", "up"), ("up", "--yes", "--folder", "stack")], ids=" ".join)
def test_one_database_for_all_services_is_refused_before_it_has_tables(
    arguments: tuple[str, ...],
    databases: dict[str, str],
    empty: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    url = empty("for_all")
    for service in SERVICES:
        # The address may be written in several ways.
        monkeypatch.setenv(f"{service.upper()}_DATABASE_URL", f"{url}&application_name={service}")
    assert main(arguments) == 1
    assert capsys.readouterr().err == (
        "innosystem: customers and wallets have the same database: each service needs its own\n"
    )
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchall() == [(0,)]


def test_a_database_from_before_the_column_of_owners_is_recognized_by_its_revision(
    databases: dict[str, str],
    empty: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    url = empty("of_the_past")
    old = migrations("wallets", url)
    # The last revision of 0.1.0 whose database does not name its service.
    old.up("e05f6a1d7b34")
    monkeypatch.setenv("JOBS_DATABASE_URL", url)
    assert main(["migrate", "up"]) == 1
    assert "the database of wallets, not of jobs" in capsys.readouterr().err
    done = subprocess.run(
        [sys.executable, "-m", "services.jobs"],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parents[4]),
            "JOBS_LISTEN_ADDRESS": "127.0.0.1:0",
            "REDIS_URL": "redis://127.0.0.1:1/0",
        },
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr == "jobs: this is the database of wallets, not of jobs: look at JOBS_DATABASE_URL\n"
    monkeypatch.setenv("WALLETS_DATABASE_URL", url)
    monkeypatch.setenv("JOBS_DATABASE_URL", databases["jobs"])
    assert main(["migrate", "up"]) == 0
