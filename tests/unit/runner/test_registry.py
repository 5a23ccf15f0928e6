"""Handlers are found by the decorator, in modules and in entry points; mistakes give clear errors."""

import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from innosystem.runner import HandlerRegistrationError, JobContext, Registry, handler, registry
from innosystem.runner.registry import Mode, default_registry, describe


async def coroutine(input: Any, job: JobContext) -> Any: ...


def function(input: Any) -> Any: ...


@pytest.fixture
def module_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_the_decorator_gives_the_function_back_and_registers_it() -> None:
    decorated = handler("tests.registry.decorated")(function)

    assert decorated is function
    found = default_registry.get("tests.registry.decorated")
    assert found is not None
    assert found.function is function


def test_how_a_handler_is_written_decides_where_it_runs() -> None:
    assert describe(coroutine, handler_id="x").mode is Mode.COROUTINE
    assert describe(function, handler_id="x").mode is Mode.THREAD
    assert describe(function, handler_id="x", process=True).mode is Mode.PROCESS


def test_an_async_handler_can_not_run_in_a_process() -> None:
    with pytest.raises(HandlerRegistrationError, match="async def"):
        describe(coroutine, handler_id="x", process=True)


@pytest.mark.parametrize(
    ("written", "takes_job"),
    [
        (lambda input: None, False),
        (lambda input, job: None, True),
        (lambda input, job=None: None, True),
        (lambda input, limit=10: None, False),
        (lambda *args: None, True),
        (lambda input, **options: None, False),
    ],
)
def test_a_handler_takes_the_input_and_the_job_if_it_wants_it(written: Callable[..., Any], takes_job: bool) -> None:
    assert describe(written, handler_id="x").takes_job is takes_job


@pytest.mark.parametrize("written", [lambda: None, lambda a, b, c: None, lambda input, *, secret: None])
def test_a_function_that_can_not_be_called_with_input_and_job_is_refused(
    written: Callable[..., Any],
) -> None:
    with pytest.raises(HandlerRegistrationError, match=r"\(input\) or \(input, job\)"):
        describe(written, handler_id="x")


def test_registering_an_id_twice_names_both_functions() -> None:
    handlers = Registry()
    handlers.add("twice", function)

    with pytest.raises(HandlerRegistrationError, match=r"twice.*\.function .*\d\) and as .*\.coroutine"):
        handlers.add("twice", coroutine)


@pytest.mark.parametrize("handler_id", ["", "x" * 201])
def test_an_id_that_no_job_type_can_have_is_refused(handler_id: str) -> None:
    with pytest.raises(HandlerRegistrationError, match="1 to 200"):
        Registry().add(handler_id, function)


def test_a_module_is_loaded_by_name(module_folder: Path) -> None:
    (module_folder / "thumbnails_of_a_test.py").write_text(
        "from innosystem.runner import handler\n@handler('tests.registry.loaded')\ndef thumbnail(input): return input\n"
    )
    default_registry.load(["thumbnails_of_a_test", "thumbnails_of_a_test"])

    assert "tests.registry.loaded" in default_registry
    assert default_registry.modules.count("thumbnails_of_a_test") == 1


def test_a_module_in_the_current_directory_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry not in ("", ".")])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here_of_a_test.py").write_text("")

    Registry().load(["here_of_a_test"])

    assert "here_of_a_test" in sys.modules


def test_entry_points_are_loaded(module_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (module_folder / "installed_of_a_test.py").write_text("")
    asked = []

    def entry_points(group: str) -> list[EntryPoint]:
        asked.append(group)
        return [EntryPoint("any", "installed_of_a_test:something", group)]

    monkeypatch.setattr(registry, "entry_points", entry_points)
    handlers = Registry()
    handlers.load([], with_entry_points=True)

    assert asked == ["innosystem.handlers"]
    assert handlers.modules == ("installed_of_a_test",)


def test_a_decorator_without_an_id_says_how_it_is_written() -> None:
    with pytest.raises(HandlerRegistrationError, match=r'@handler\("the\.id"\) above \'greet\''):

        @handler  # type: ignore[arg-type] # the mistake
        def greet(input: object) -> None: ...
