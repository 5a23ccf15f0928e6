"""D14: `innosystem bench data` measures repositories on PostgreSQL and in memory, and pool sizes."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from tests.conftest import PostgresServer

OPERATIONS = {
    ("customers.create", 1),
    ("customers.get", 1),
    ("customers.update", 1),
    ("customers.list_page", 50),
    ("jobs.create_many", 200),
    ("jobs.claim", 100),
    ("jobs.apply", 100),
    ("ledger.apply", 1),
    ("ledger.apply", 100),
}
TIMINGS = {"calls", "calls_per_second", "p50_ms", "p99_ms"}
POOL = {
    "connections",
    "operations_per_second",
    "read_p50_ms",
    "read_p99_ms",
    "write_p50_ms",
    "write_p99_ms",
    "cpu_percent",
}


def bench_data(folder: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Runs the command, without what the environment says of databases."""
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_DATABASE_URL")}
    return subprocess.run(
        [sys.executable, "-m", "tools.cli", "bench", "data", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
        cwd=folder,
        env={**environment, "PYTHONPATH": str(Path(__file__).parents[4]), **settings},
    )


def check(done: subprocess.CompletedProcess[str], file: Path) -> None:
    """Every figure is there and is one."""
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    found = json.loads(file.read_text())
    assert found.keys() == {"machine", "seconds", "runs", "pools", "operations"}
    assert found["machine"].keys() == {"cpus", "python", "postgresql"}
    assert {(one["operation"], one["rows"]) for one in found["operations"]} == OPERATIONS
    for one in found["operations"]:
        assert one.keys() == {"operation", "rows", "sql", "memory"}
        check_timings(one["sql"])
        check_timings(one["memory"])
        assert one["operation"] in done.stdout
    assert [one["connections"] for one in found["pools"]] == [1, 2, 4, 8, 16, 32]
    for one in found["pools"]:
        assert one.keys() == POOL
        assert min(one.values()) > 0
    assert "SQL p99 ms" in done.stdout
    assert "memory p99 ms" in done.stdout


def check_timings(figures: Mapping[str, float]) -> None:
    """A rate and percentiles in their order."""
    assert figures.keys() == TIMINGS
    assert min(figures.values()) > 0
    assert figures["p50_ms"] <= figures["p99_ms"]


def databases_of(url: str) -> set[str]:
    """All databases of a server."""
    with psycopg.connect(url) as connection:
        return {name for (name,) in connection.execute("SELECT datname FROM pg_database").fetchall()}


@pytest.mark.slow
def test_repositories_and_pools_are_measured_in_databases_that_are_dropped(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    postgres.create_database(name := f"bench_{uuid4().hex}")
    url = postgres.url(name)
    settings = {f"{service}_DATABASE_URL": url for service in ("CUSTOMERS", "WALLETS", "JOBS")}
    try:
        file = tmp_path / "figures.json"
        check(bench_data(tmp_path, "--seconds", "0.01", "--runs", "2", "--json", str(file), **settings), file)
        assert not [one for one in databases_of(url) if one.startswith("innosystem_bench_")]
        with psycopg.connect(url) as connection:
            # What the variables name is left alone.
            tables = connection.execute("SELECT FROM pg_tables WHERE schemaname = 'public'").fetchall()
        assert tables == []
    finally:
        postgres.drop_database(name)


@pytest.mark.slow
def test_without_a_database_an_embedded_one_is_used_and_removed(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    # Not below tmp_path, which is too long for a unix socket.
    with tempfile.TemporaryDirectory() as temporary:
        done = bench_data(tmp_path, "--seconds", "0.01", "--runs", "1", "--json", str(file), TMPDIR=temporary)
        check(done, file)
        assert list(Path(temporary).iterdir()) == []


def test_a_server_that_can_not_be_reached_is_one_clear_line(tmp_path: Path) -> None:
    url = "postgresql://ada:secret@127.0.0.1:1/jobs"
    settings = {f"{service}_DATABASE_URL": url for service in ("CUSTOMERS", "WALLETS", "JOBS")}
    done = bench_data(tmp_path, **settings)
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert "CUSTOMERS_DATABASE_URL" in line
    assert "secret" not in line
