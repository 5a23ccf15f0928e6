"""Settings are read from the environment, and their bounds are checked at the start."""

import pytest

from innosystem.runner.__main__ import main
from innosystem.runner.queue import list_keys
from innosystem.runner.settings import RunnerSettings


def test_lists_are_given_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNNER_QUEUES", "default, bulk,default")
    monkeypatch.setenv("RUNNER_HANDLERS", "one.module,another")
    settings = RunnerSettings()

    assert settings.runner_queues == ("default", "bulk")
    assert settings.runner_handlers == ("one.module", "another")


def test_the_address_of_redis_is_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://:secret@localhost")

    assert "secret" not in repr(RunnerSettings())


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--concurrency", "0"], "RUNNER_CONCURRENCY"),
        (["--queue", "Not A Queue"], "RUNNER_QUEUES"),
    ],
)
def test_a_setting_out_of_bounds_is_one_clear_line(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith(named)


def test_each_priority_of_all_queues_comes_before_the_next_priority() -> None:
    assert list_keys(["default", "bulk"], "{i}:") == [
        "{i}:jobs:p0:pending",
        "{i}:jobs:bulk:p0:pending",
        "{i}:jobs:p1:pending",
        "{i}:jobs:bulk:p1:pending",
        "{i}:jobs:p2:pending",
        "{i}:jobs:bulk:p2:pending",
    ]
