"""The liveness probe of a runner's container: the age of the file that the runner touches."""

import importlib.util
import os
import time
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[3] / "deploy" / "health.py"


@pytest.fixture
def probe() -> ModuleType:
    spec = importlib.util.spec_from_file_location("health", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def health_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for service in ("CUSTOMERS", "WALLETS", "JOBS"):
        monkeypatch.delenv(f"{service}_LISTEN_ADDRESS", raising=False)
    monkeypatch.setenv("RUNNER_HEALTH_FILE", str(tmp_path / "polled"))
    monkeypatch.setenv("RUNNER_WATCHDOG_SECONDS", "30")
    return tmp_path / "polled"


def age(path: Path, seconds: float) -> None:
    path.touch()
    os.utime(path, (time.time() - seconds,) * 2)


@pytest.mark.parametrize(("seconds", "status"), [(0, 0), (50, 0), (70, 1)])
def test_a_runner_is_alive_while_its_file_is_not_older_than_twice_the_watchdogs_limit(
    probe: ModuleType, health_file: Path, seconds: float, status: int
) -> None:
    age(health_file, seconds)
    assert probe.main([]) == status


def test_a_runner_whose_file_is_missing_is_not_alive(
    probe: ModuleType, health_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert probe.main([]) == 1
    assert capsys.readouterr().out == f"{health_file} MISSING\n"


def test_without_a_health_file_there_is_nothing_to_look_at(
    probe: ModuleType, health_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RUNNER_HEALTH_FILE")
    assert probe.main([]) == 0
