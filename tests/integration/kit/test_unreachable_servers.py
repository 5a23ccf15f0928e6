"""Why a database or Redis can't be reached is said with the server's reason and its address, never with a password."""

import socket
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote, urlsplit

import psycopg
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from services.kit.data.engine.address import DatabaseAddress
from services.kit.data.engine.database import Database
from services.kit.errors import DatabaseUnavailable, explained
from services.kit.rpc.serving.health import Health
from services.kit.settings import DatabaseSettings, load
from tools.cli.__main__ import main
from tools.local.embedded import EmbeddedPostgres

SECRET = "hunt%er2"
FORMS = (SECRET, quote(SECRET), "hunt", "er2")

Urls = dict[str, str]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Run PostgreSQL with a password for the role `locked`, and return the folder of its socket."""
    with TemporaryDirectory(prefix="innosystem-") as name, EmbeddedPostgres(Path(name), {"fsync": "off"}) as postgres:
        postgres.create_database("jobs")
        with psycopg.connect(postgres.url("jobs"), autocommit=True) as connection:
            connection.execute("CREATE ROLE locked LOGIN PASSWORD 'right'")
            [(hba,)] = connection.execute("SHOW hba_file").fetchall()
            Path(hba).write_text(f"local all locked scram-sha-256\n{Path(hba).read_text()}")
            connection.execute("SELECT pg_reload_conf()")
        host = urlsplit(postgres.url("jobs")).query.partition("=")[2]
        yield host


@pytest.fixture(scope="module")
def silent() -> Iterator[int]:
    """Listen on a port, and respond to nobody."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.fixture(scope="module")
def urls(server: str, silent: int) -> Urls:
    """A wrong address of each kind."""
    password = quote(SECRET)
    return {
        "password": f"postgresql://locked:{password}@/jobs?host={server}",
        "password in the query": f"postgresql:///jobs?host={server}&user=locked&password={password}",
        "database": f"postgresql://postgres:{password}@/nosuch?host={server}",
        "user": f"postgresql://nobody:{password}@/jobs?host={server}",
        "port": f"postgresql://locked:{password}@127.0.0.1:1/jobs",
        "host": f"postgresql://locked:{password}@no.such.host.invalid:5432/jobs",
        "silent": f"postgresql://locked:{password}@127.0.0.1:{silent}/jobs",
        "option": f"postgresql://locked@127.0.0.1:1/jobs?passwrd={password}",
        "passfile": f"postgresql://locked@/jobs?host={server}&passfile=/nowhere/passwords",
    }


REASONS = {
    "password": 'password authentication failed for user "locked"',
    "password in the query": 'password authentication failed for user "locked"',
    "database": 'database "nosuch" does not exist',
    "user": 'role "nobody" does not exist',
    "port": "Connection refused",
    "host": "failed to resolve host",
    "silent": "connection timeout expired",
    "option": 'invalid connection option "passwrd"',
    "passfile": "no password supplied",
}


def hides_secrets(text: str) -> None:
    assert [form for form in FORMS if form in text] == [], text


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    # A password of the environment would be used.
    monkeypatch.delenv("PGPASSWORD", raising=False)
    # Else the server that is on no machine would be refused for its connection without TLS.
    monkeypatch.setenv("INNOSYSTEM_PLAINTEXT", "allow")


@pytest.mark.parametrize("wrong", REASONS)
async def test_the_log_of_a_service_has_reason_and_address(
    wrong: str, urls: Urls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBS_DATABASE_URL", urls[wrong])
    database = Database.connect(load(DatabaseSettings, "JOBS_DATABASE_"), application_name="test")
    health = Health(["jobs"], {"database": database.check})
    with capture_logs() as lines:
        assert not await health._passes("database", database.check)
    await database.close()
    unreachable, down = lines
    assert (unreachable["event"], down["event"]) == ("database_unreachable", "dependency_down")
    for line in lines:
        assert REASONS[wrong] in line["error"]
    assert {"host", "port", "database", "user"} <= unreachable.keys()
    assert f"JOBS_DATABASE_URL ({DatabaseAddress.of(urls[wrong])})" in down["error"]
    assert "again" not in down["error"]
    hides_secrets(str(lines))


@pytest.mark.parametrize("wrong", REASONS)
@pytest.mark.parametrize("arguments", [("audit", "list", "jobs"), ("migrate", "current", "jobs"), ("up",)])
def test_commands_say_reason_and_address_once(
    wrong: str,
    arguments: tuple[str, ...],
    urls: Urls,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("JOBS_DATABASE_URL", urls[wrong])
    monkeypatch.setenv("JOBS_DATABASE_CONNECT_TIMEOUT_SECONDS", "2")
    if wrong == "silent" and arguments != ("audit", "list", "jobs"):
        pytest.skip("these commands wait for 10 s, which is no setting")
    assert main(arguments) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert err.count(REASONS[wrong]) == 1
    assert f"JOBS_DATABASE_URL ({DatabaseAddress.of(urls[wrong])})" in err
    assert "again" not in err
    hides_secrets(err)


@pytest.mark.parametrize("wrong", ["password", "database", "port"])
def test_verify_names_the_database_among_the_three(
    wrong: str, urls: Urls, server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for service in ("CUSTOMERS", "WALLETS", "JOBS"):
        monkeypatch.setenv(f"{service}_DATABASE_URL", f"postgresql://postgres@/jobs?host={server}")
    monkeypatch.setenv("CUSTOMERS_DATABASE_URL", urls[wrong])
    assert main(["verify"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("innosystem: can't use the database of CUSTOMERS_DATABASE_URL (")
    assert REASONS[wrong] in err
    hides_secrets(err)


def test_demo_names_the_server_that_it_can_not_use(
    urls: Urls, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for service in ("CUSTOMERS", "WALLETS", "JOBS"):
        monkeypatch.setenv(f"{service}_DATABASE_URL", urls["password"])
    assert main(["demo"]) == 1
    err = capsys.readouterr().err
    assert f"CUSTOMERS_DATABASE_URL ({DatabaseAddress.of(urls['password'])})" in err
    assert REASONS["password"] in err
    hides_secrets(err)


async def test_an_error_hides_the_password_although_the_driver_repeats_it(urls: Urls) -> None:
    address = DatabaseAddress.of(urls["password"], "JOBS_DATABASE_URL")
    said = address.said(ValueError(f"no way with {SECRET} or {quote(SECRET)}\n\tin two lines"))
    assert said == "no way with *** or ***; in two lines"


async def test_callers_are_not_told_where_the_database_is(urls: Urls) -> None:
    database = Database.connect(DatabaseSettings(url=SecretStr(urls["port"])), application_name="test")
    with pytest.raises(DatabaseUnavailable) as caught:
        await database.check()
    await database.close()
    assert "127.0.0.1" not in f"{caught.value.message} {caught.value.metadata}"
    assert "127.0.0.1" in explained(caught.value)
