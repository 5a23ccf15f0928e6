"""Databases and Redis on other machines are used by TLS, unless it is said otherwise."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from innosystem.runner.settings import RunnerSettings
from services.kit.settings import DatabaseSettings, RedisSettings, StartupError, load


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("PGHOST", "PGSSLMODE", "INNOSYSTEM_PLAINTEXT", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://localhost/shop",
        "postgresql://ada:secret@127.0.0.1:5432/shop",
        "postgresql://ada@[::1]:5432/shop",
        "postgresql:///shop",
        "postgresql:///shop?host=/run/postgresql",
        "postgresql://ada@db.example/shop?sslmode=verify-full&sslrootcert=/ca.crt",
        "postgresql+psycopg://ada@db.example/shop?sslmode=verify-ca",
        "postgresql:///shop?host=a.example,b.example&sslmode=require",
    ],
)
def test_a_database_on_this_machine_or_with_tls_is_used(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_DATABASE_URL", url)
    load(DatabaseSettings, "SHOP_DATABASE_")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ada:hunter2@db.example/shop",
        "postgresql://ada:hunter2@db.example/shop?sslmode=prefer",
        "postgresql://ada:hunter2@db.example/shop?sslmode=disable",
        "postgresql://ada:hunter2@10.0.0.1:5432/shop",
        "postgresql:///shop?host=db.example",
        "postgresql:///shop?host=/run/postgresql,db.example",
        "postgresql:///shop?hostaddr=10.0.0.1",
    ],
)
def test_a_database_elsewhere_without_tls_is_refused_unless_it_is_allowed(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_DATABASE_URL", url)
    with pytest.raises(StartupError, match=r"^SHOP_DATABASE_URL: .*verify-full.*INNOSYSTEM_PLAINTEXT=allow") as caught:
        load(DatabaseSettings, "SHOP_DATABASE_")
    assert "hunter2" not in str(caught.value)
    monkeypatch.setenv("INNOSYSTEM_PLAINTEXT", "allow")
    load(DatabaseSettings, "SHOP_DATABASE_")


def test_what_the_driver_takes_from_the_environment_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_DATABASE_URL", "postgresql:///shop")
    monkeypatch.setenv("PGHOST", "db.example")
    with pytest.raises(StartupError, match="would not be encrypted"):
        load(DatabaseSettings, "SHOP_DATABASE_")
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    load(DatabaseSettings, "SHOP_DATABASE_")


@pytest.mark.parametrize("url", ["redis://localhost:6379/0", "unix:///run/redis.sock", "rediss://cache.example:6379/0"])
def test_redis_on_this_machine_or_with_tls_is_used(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    load(RedisSettings, "REDIS_")
    RunnerSettings()


def test_redis_elsewhere_without_tls_is_refused_unless_it_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://:hunter2@cache.example:6379/0")
    with pytest.raises(StartupError, match=r"^REDIS_URL: .*rediss://.*INNOSYSTEM_PLAINTEXT=allow"):
        load(RedisSettings, "REDIS_")
    with pytest.raises(ValidationError, match=r"REDIS_URL: .*rediss://.*INNOSYSTEM_PLAINTEXT=allow") as caught:
        RunnerSettings()
    assert "hunter2" not in str(caught.value)
    monkeypatch.setenv("INNOSYSTEM_PLAINTEXT", "allow")
    load(RedisSettings, "REDIS_")
    RunnerSettings()
