"""Settings are read from the environment, and their bounds are checked at the start."""

from pathlib import Path

import pytest

from innosystem.runner.__main__ import _parse, main
from innosystem.runner.queue import list_keys
from innosystem.runner.settings import RunnerSettings, misspelt_settings


@pytest.mark.parametrize("given", ["default, bulk,default", "default bulk", " default,bulk "])
def test_lists_in_variables_are_separated_by_commas_or_spaces(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNNER_QUEUES", given)
    monkeypatch.setenv("RUNNER_HANDLERS", given)
    settings = RunnerSettings()

    assert settings.runner_queues == ("default", "bulk")
    assert set(settings.runner_handlers) == {"default", "bulk"}


@pytest.mark.parametrize("given", [["default,bulk"], ["default", "bulk"], ["default, bulk"], ["default bulk"]])
def test_lists_after_flags_are_separated_as_in_variables(given: list[str]) -> None:
    settings = RunnerSettings(**vars(_parse(["--queue", *given, "--handlers", *given])) | {"runner_concurrency": 1})

    assert settings.runner_queues == settings.runner_handlers == ("default", "bulk")


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ("my folder/hand lers.py", ["my folder/hand lers.py"]),
        ("my folder/hand lers.py, other", ["my folder/hand lers.py", "other"]),
        ("a b,my folder/hand lers.py", ["a", "b", "my folder/hand lers.py"]),
        ("my folder/a,b.py", ["my folder/a,b.py"]),
        ("a.py b.py", ["a.py", "b.py"]),
        ("my folder/missing.py", ["my", "folder/missing.py"]),
    ],
)
def test_the_path_of_a_file_with_handlers_may_have_spaces(
    given: str, names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my folder").mkdir()
    for name in ("hand lers.py", "a,b.py"):
        (tmp_path / "my folder" / name).touch()
    monkeypatch.setenv("RUNNER_HANDLERS", given)

    assert RunnerSettings().runner_handlers == tuple(names)
    monkeypatch.delenv("RUNNER_HANDLERS")
    flags = vars(_parse(["--handlers", given])) | {"runner_queues": "default", "runner_concurrency": 1}
    assert RunnerSettings(**flags).runner_handlers == tuple(names)


def test_a_level_may_be_given_in_small_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", "debug")

    assert RunnerSettings().log_level == "DEBUG"


def test_the_address_of_redis_is_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://:of-redis@localhost")

    assert "of-redis" not in repr(RunnerSettings())


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--concurrency", "0"], "RUNNER_CONCURRENCY: "),
        (
            ["--queue", "Q_1"],
            "RUNNER_QUEUES: 'Q_1' is not a queue: names have at most 50 lower-case letters, digits and hyphens",
        ),
    ],
)
def test_a_setting_out_of_bounds_is_one_clear_line(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith(named)


def test_a_url_of_another_kind_is_refused_without_repeating_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REDIS_URL", "http://:hunter2@redis")
    assert main([]) == 2
    assert capsys.readouterr().err == "REDIS_URL: must be a URL that begins with redis://, rediss://, unix://\n"


def test_a_misspelt_variable_of_the_platform_ends_the_start_where_the_right_one_is_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.setenv("REDIS_ULR", "redis://elsewhere")
    assert main([]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "REDIS_ULR is not a setting: did you mean REDIS_URL?"


def test_misspelt_settings_of_the_environment_and_the_file_are_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("RUNNER_QUEUE=bulk\n")
    monkeypatch.setenv("RUNNER_CONCURENCY", "5")
    assert misspelt_settings() == {"RUNNER_CONCURENCY": "RUNNER_CONCURRENCY", "RUNNER_QUEUE": "RUNNER_QUEUES"}


def test_each_priority_of_all_queues_comes_before_the_next_priority() -> None:
    assert list_keys(["default", "bulk"], "{i}:") == [
        "{i}:jobs:p0:pending",
        "{i}:jobs:bulk:p0:pending",
        "{i}:jobs:p1:pending",
        "{i}:jobs:bulk:p1:pending",
        "{i}:jobs:p2:pending",
        "{i}:jobs:bulk:p2:pending",
    ]
