"""Every secret setting can be in a file: of services, of the runner, of the command."""

from pathlib import Path

import pytest
from pydantic_settings import BaseSettings

from innosystem.runner.settings import RunnerSettings
from innosystem.shared.secret_files import SecretFileError
from innosystem.shared.secret_settings import SecretsFromFiles, secret_fields
from innosystem.shared.settings_names import SECRETS, SETTINGS
from services.kit.settings import DatabaseSettings, RedisSettings, StartupError, load, load_redis
from tests.unit.project.test_settings_classes import classes
from tools.errors import CommandError
from tools.local.environment import environment

URL = "postgresql://ada:secret@localhost/shop"


@pytest.fixture(autouse=True)
def _own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in SECRETS:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "secret"
    found.write_text(f"{URL}\n")
    return found


@pytest.mark.parametrize("kind", classes(), ids=lambda kind: kind.__name__)
def test_every_secret_field_can_be_in_a_file(kind: type[BaseSettings]) -> None:
    assert not secret_fields(kind) or issubclass(kind, SecretsFromFiles)


def test_the_names_of_the_files_are_settings() -> None:
    assert {f"{name}_FILE" for name in SECRETS} <= SETTINGS


def test_a_service_reads_a_secret_from_its_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_DATABASE_URL_FILE", str(file))
    assert load(DatabaseSettings, "SHOP_DATABASE_").url.get_secret_value() == URL


def test_a_file_in_the_environment_comes_before_a_value_in_dotenv(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("SHOP_DATABASE_URL=postgresql://localhost/other\n")
    monkeypatch.setenv("SHOP_DATABASE_URL_FILE", str(file))
    assert load(DatabaseSettings, "SHOP_DATABASE_").url.get_secret_value() == URL


def test_a_value_in_the_environment_comes_before_a_file_in_dotenv(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text(f"SHOP_DATABASE_URL_FILE={file}\n")
    assert load(DatabaseSettings, "SHOP_DATABASE_").url.get_secret_value() == URL
    monkeypatch.setenv("SHOP_DATABASE_URL", "postgresql://localhost/other")
    assert load(DatabaseSettings, "SHOP_DATABASE_").url.get_secret_value() == "postgresql://localhost/other"


def test_redis_and_a_runner_read_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "redis"
    file.write_text("redis://:secret@localhost/1")
    monkeypatch.setenv("REDIS_URL_FILE", str(file))
    found = load_redis()
    assert found is not None
    assert found.url.get_secret_value() == "redis://:secret@localhost/1"
    assert RunnerSettings().redis_url.get_secret_value() == "redis://:secret@localhost/1"


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_the_command_reads_every_secret_and_passes_on_the_value_only(
    name: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"{name}_FILE", str(file))
    found = environment()
    assert found[name] == URL
    assert f"{name}_FILE" not in found


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "JOBS_DATABASE_URL_FILE: .*secret can't be read: No such file"),
        (b"\n", "JOBS_DATABASE_URL_FILE: .*secret is empty"),
        (b"\xff\xfe", "JOBS_DATABASE_URL_FILE: .*secret is not text"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_its_setting(
    content: bytes | None, said: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBS_DATABASE_URL_FILE", str(file))
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    with pytest.raises(StartupError, match=said):
        load(DatabaseSettings, "JOBS_DATABASE_")
    with pytest.raises(CommandError, match=said):
        environment()


def test_a_secret_and_its_file_together_are_refused_without_showing_either(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL_FILE", str(file))
    monkeypatch.setenv("REDIS_URL", "redis://:hunter2@localhost")
    with pytest.raises(SecretFileError, match="REDIS_URL and REDIS_URL_FILE are both set: unset one of them") as caught:
        RunnerSettings()
    assert "secret@" not in str(caught.value)
    with pytest.raises(StartupError, match="both set"):
        load(RedisSettings, "REDIS_")
