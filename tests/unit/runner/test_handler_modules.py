"""Modules with handlers are found by name or file, and their authors see their own lines when an import fails."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from innosystem.runner import HandlerRegistrationError, Registry
from innosystem.runner.registry import default_registry

TWICE = """
from innosystem.runner import handler
@handler("tests.twice")
def one(input): ...
@handler("tests.twice")
def two(input): ...
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory; modules and handlers that are imported from it are forgotten afterwards."""
    monkeypatch.setattr(default_registry, "_handlers", {})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("source", "line", "error"),
    [
        ("import os\nKEY = os.environ['NO_SUCH_SETTING']", 2, "KeyError: 'NO_SUCH_SETTING'"),
        ("def f(:", 1, "SyntaxError: invalid syntax"),
        ("\n\nimport no_such_library", 3, "ModuleNotFoundError: No module named 'no_such_library'"),
        ("import sys\nsys.exit('not configured')", 2, "SystemExit: not configured"),
        (TWICE, 5, "HandlerRegistrationError: .* registered twice"),
        (
            "import os\ntry:\n    os.environ['A_B']\nexcept KeyError:\n    1 / 0",
            5,
            "ZeroDivisionError: division by zero",
        ),
    ],
    ids=["setting", "syntax", "dependency", "exit", "twice", "during-another"],
)
@pytest.mark.parametrize("given", ["broken_of_a_test", "broken_of_a_test.py", "./broken_of_a_test.py"])
def test_a_module_that_fails_shows_the_line_of_its_author_and_no_frame_of_ours(
    folder: Path, given: str, source: str, line: int, error: str
) -> None:
    file = folder / "broken_of_a_test.py"
    file.write_text(source)

    with pytest.raises(HandlerRegistrationError) as caught:
        Registry().load([given])

    message = str(caught.value)
    assert message.startswith(f"The handlers in {given!r} cannot be loaded:\n")
    assert f'File "{file}", line {line}' in message
    assert re.search(error, message.splitlines()[-1])
    frames = re.findall(r'^  File "(.*?)", line', message, flags=re.MULTILINE)
    assert [each for each in frames if "innosystem" in each or "importlib" in each] == []


def test_an_error_in_an_import_of_the_module_shows_both_files(folder: Path) -> None:
    (folder / "inner_of_a_test.py").write_text("1 / 0")
    (folder / "outer_of_a_test.py").write_text("import inner_of_a_test")

    with pytest.raises(HandlerRegistrationError, match=r"(?s)outer_of_a_test\.py.*inner_of_a_test\.py.*Zero"):
        Registry().load(["outer_of_a_test"])


def test_an_id_that_is_registered_twice_names_both_files_and_lines(folder: Path) -> None:
    file = folder / "twice_of_a_test.py"
    file.write_text(TWICE)

    with pytest.raises(HandlerRegistrationError, match=f"{file}:3.*{file}:5"):
        Registry().load(["twice_of_a_test"])


def test_a_file_that_is_imported_under_two_names_is_called_that(folder: Path) -> None:
    (folder / "pkg_of_a_test").mkdir()
    (folder / "pkg_of_a_test" / "mod_of_a_test.py").write_text(
        TWICE.partition("@handler")[0] + "@handler('two-names')\ndef f(_): ..."
    )
    registry = Registry()
    registry.load(["pkg_of_a_test/mod_of_a_test.py"])
    sys.path.insert(0, "pkg_of_a_test")

    with pytest.raises(
        HandlerRegistrationError, match=r"two names: 'pkg_of_a_test\.mod_of_a_test' and 'mod_of_a_test'"
    ):
        registry.load(["mod_of_a_test"])


@pytest.mark.parametrize("given", ["pkg_of_a_test.mod", "pkg_of_a_test/mod.py", "./pkg_of_a_test/mod.py"])
def test_a_file_has_the_name_that_it_has_from_the_working_directory(folder: Path, given: str) -> None:
    (folder / "pkg_of_a_test").mkdir()
    (folder / "pkg_of_a_test" / "mod.py").write_text("")
    registry = Registry()

    registry.load([given, str(folder / "pkg_of_a_test" / "mod.py")])

    assert registry.modules == ("pkg_of_a_test.mod",)


def test_a_file_elsewhere_is_imported_from_outside_of_its_package(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = folder / "elsewhere" / "outer_pkg_of_a_test"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "mod.py").touch()
    (folder / "here").mkdir()
    monkeypatch.chdir(folder / "here")
    registry = Registry()

    registry.load(["../elsewhere/outer_pkg_of_a_test/mod.py"])

    assert registry.modules == ("outer_pkg_of_a_test.mod",)
    assert str(folder / "elsewhere") in sys.path


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("no_such_module_at_all", "There is no module 'no_such_module_at_all' in"),
        ("no_such_package.of_a_test", "There is no module 'no_such_package.of_a_test' in"),
        ("nothing.py", "There is no Python file 'nothing.py' in"),
        ("some/thing", "There is no Python file 'some/thing' in"),
        ("two.dots_of_a_test.py", "rename it"),
        ("NOTES_of_a_test.md", "'NOTES_of_a_test.md' is not a Python file: give a file whose name ends in .py"),
        ("json.py", "Python has another module 'json'.*Rename the file"),
    ],
)
def test_what_cannot_be_found_is_named_with_what_to_give(folder: Path, given: str, message: str) -> None:
    for name in ("two.dots_of_a_test.py", "json.py", "NOTES_of_a_test.md"):
        (folder / name).touch()

    with pytest.raises(HandlerRegistrationError, match=message):
        Registry().load([given])


def test_an_interrupt_during_an_import_is_no_fault_of_the_module(folder: Path) -> None:
    (folder / "interrupted_of_a_test.py").write_text("raise KeyboardInterrupt")

    with pytest.raises(KeyboardInterrupt):
        Registry().load(["interrupted_of_a_test"])
