"""Which files of an author are watched."""

import os
from pathlib import Path

import pytest

from tools.dev.sources import Sources


@pytest.fixture
def author(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an author, which is not the working directory."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_modules_that_are_imported_from_the_same_folder_are_watched_wherever_the_import_stands(author: Path) -> None:
    write(author, my="import sub.one\ndef run():\n    from other import two", sub__one="", other__two="", unused__x="")
    sources = Sources(author / "my.py")
    sources.read()
    assert sources.folders == {author, author / "sub", author / "other"}


def test_relative_imports_of_a_package_are_followed(author: Path) -> None:
    write(
        author, pkg__work="from . import near\nfrom ..far import helper", far__helper="", pkg__near="import pkg.deep.er"
    )
    write(author, pkg__deep__er="")
    (author / "pkg/__init__.py").touch()
    sources = Sources(author / "pkg/work.py")
    sources.read()
    assert sources.folders == {author / "pkg", author / "far", author / "pkg/deep"}


def test_a_file_below_the_working_directory_imports_from_there(author: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(author, jobs__work="from shared.tools import x", shared__tools="")
    monkeypatch.chdir(author)
    sources = Sources(Path("jobs/work.py"))
    sources.read()
    assert sources.folders == {author / "jobs", author / "shared"}


def test_a_file_that_cannot_be_parsed_keeps_the_folders_of_before(author: Path) -> None:
    write(author, my="import sub.one", sub__one="import my")
    sources = Sources(author / "my.py")
    sources.read()
    write(author, my="import sub.one\ndef (")
    sources.read()
    assert sources.folders == {author, author / "sub"}


def test_a_save_and_a_module_that_was_missing_change_the_state_and_other_files_do_not(author: Path) -> None:
    write(author, my="import helper")
    sources = Sources(author / "my.py")
    read = sources.read()
    (author / "data.json").touch()
    assert sources.stamps() == read
    write(author, helper="")
    assert sources.stamps() != read
    read = sources.read()
    os.utime(author / "my.py", ns=(1, 1))
    assert sources.stamps() != read
