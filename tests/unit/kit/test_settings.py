"""Settings, and what is said when they are wrong."""

from pathlib import Path

import pytest

from services.kit.settings import (
    DatabaseSettings,
    LogSettings,
    RedisSettings,
    ServerSettings,
    StartupError,
    load,
    misspelt_settings,
)


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("SHOP_DATABASE_URL", "SHOP_LISTEN_ADDRESS", "REDIS_URL", "LOG_LEVEL", "LOG_FORMAT"):
        monkeypatch.delenv(name, raising=False)


def test_settings_have_working_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_LISTEN_ADDRESS", "127.0.0.1:0")

    server = load(ServerSettings, "SHOP_")

    assert server.listen_address == "127.0.0.1:0"
    assert (server.drain_seconds, server.deadline_seconds_max) == (20, 30)
    assert server.message_bytes_max == 16 * 1024 * 1024
    assert (server.reflection, server.reuse_port) == (True, False)
    assert load(LogSettings, "LOG_").format == "auto"


def test_a_setting_that_is_missing_is_named_by_its_environment_variable() -> None:
    with pytest.raises(StartupError, match=r"^SHOP_DATABASE_URL is not set$"):
        load(DatabaseSettings, "SHOP_DATABASE_")


def test_an_empty_setting_is_a_missing_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_DATABASE_URL", "")

    with pytest.raises(StartupError, match=r"^SHOP_DATABASE_URL is not set$"):
        load(DatabaseSettings, "SHOP_DATABASE_")


def test_all_wrong_settings_are_reported_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_LISTEN_ADDRESS", "127.0.0.1:0")
    monkeypatch.setenv("SHOP_DRAIN_SECONDS", "soon")
    monkeypatch.setenv("SHOP_MESSAGE_BYTES_MAX", "-1")

    with pytest.raises(StartupError) as caught:
        load(ServerSettings, "SHOP_")

    message = str(caught.value)
    assert "SHOP_DRAIN_SECONDS: " in message
    assert "SHOP_MESSAGE_BYTES_MAX: " in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("kind", "prefix", "url", "begin"),
    [
        (DatabaseSettings, "SHOP_DATABASE_", "mysql://ada:hunter2@db/shop", "postgresql://"),
        (RedisSettings, "REDIS_", "http://:hunter2@redis", "redis://, rediss://, unix://"),
    ],
)
def test_a_url_of_another_kind_is_refused_without_repeating_it(
    monkeypatch: pytest.MonkeyPatch,
    kind: type[DatabaseSettings] | type[RedisSettings],
    prefix: str,
    url: str,
    begin: str,
) -> None:
    monkeypatch.setenv(f"{prefix}URL", url)

    with pytest.raises(StartupError) as caught:
        load(kind, prefix)

    assert str(caught.value) == f"{prefix}URL: must be a URL that begins with {begin}"


@pytest.mark.parametrize(
    ("kind", "prefix", "url"),
    [
        (DatabaseSettings, "SHOP_DATABASE_", "postgresql://ada:hunt@er2@db/shop"),
        (DatabaseSettings, "SHOP_DATABASE_", "postgresql://ada:hunt@db:er2/shop"),
        (RedisSettings, "REDIS_", "redis://:hunt/er2@redis/0"),
        (RedisSettings, "REDIS_", "redis://redis:hunt/0"),
        (RedisSettings, "REDIS_", "redis://ada:12?hunter2@redis/0"),
        (RedisSettings, "REDIS_", "redis://ada:12#hunter2@redis/0"),
        (RedisSettings, "REDIS_", "redis://redis/0?passwrd=hunter2"),
    ],
)
def test_a_url_that_is_not_understood_is_refused_without_repeating_half_of_the_password(
    monkeypatch: pytest.MonkeyPatch, kind: type[DatabaseSettings] | type[RedisSettings], prefix: str, url: str
) -> None:
    monkeypatch.setenv(f"{prefix}URL", url)

    with pytest.raises(StartupError, match=f"^{prefix}URL: ") as caught:
        load(kind, prefix)

    assert "hunt" not in str(caught.value)
    assert "er2" not in str(caught.value)


def test_the_file_is_read_and_the_environment_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("LOG_LEVEL=DEBUG\nLOG_FORMAT=console\nSOMETHING_ELSE=1\n")
    monkeypatch.setenv("LOG_LEVEL", "ERROR")

    settings = load(LogSettings, "LOG_")

    assert (settings.level, settings.format) == ("ERROR", "console")


def test_a_level_may_be_given_in_small_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", "debug")

    assert load(LogSettings, "LOG_").level == "DEBUG"


def test_misspelt_settings_of_the_environment_and_the_file_are_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("JOBS_DATABSE_URL=postgresql://db/jobs\n")
    monkeypatch.setenv("JOBS_DATABASE_URL", "postgresql://db/jobs")
    monkeypatch.setenv("LOG_LEVLE", "DEBUG")
    monkeypatch.setenv("JOBS_SERVICE_HOST", "10.0.0.1")

    assert misspelt_settings() == {"JOBS_DATABSE_URL": "JOBS_DATABASE_URL", "LOG_LEVLE": "LOG_LEVEL"}


def test_a_misspelt_variable_of_the_platform_ends_the_start_where_the_right_one_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.setenv("REDIS_ULR", "redis://elsewhere")

    with pytest.raises(StartupError, match=r"REDIS_ULR is not a setting: did you mean REDIS_URL\?"):
        misspelt_settings()


def test_secrets_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_DATABASE_URL", "postgresql://ada:hunter2@localhost/shop")

    settings = load(DatabaseSettings, "SHOP_DATABASE_")

    assert "hunter2" not in f"{settings!r} {settings}"
    assert settings.url.get_secret_value() == "postgresql://ada:hunter2@localhost/shop"


def test_page_tokens_have_a_key_where_the_database_has_none_and_another_in_other_services() -> None:
    first, same, other = (
        DatabaseSettings(url=f"postgresql://db/{name}").page_token_key for name in ("jobs", "jobs", "wallets")
    )

    assert first == same
    assert first != other
