"""Files and folders that only their user may read."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.local.private_files import open_private, private_folder


@pytest.fixture(autouse=True)
def generous_umask() -> Iterator[None]:
    """New files are for everyone, unless their mode says otherwise."""
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_new_file_is_private_from_its_first_moment(tmp_path: Path) -> None:
    file = tmp_path / "log"

    with open_private(file, "ab") as opened:
        assert mode(file) == 0o600
        opened.write(b"first")
    with open_private(file, "ab") as opened:
        opened.write(b" second")

    assert file.read_bytes() == b"first second"


def test_a_file_of_an_earlier_release_becomes_private(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.touch(mode=0o644)

    open_private(file, "ab").close()

    assert mode(file) == 0o600


def test_a_folder_of_an_earlier_release_becomes_private(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir(mode=0o755)

    assert private_folder(folder) == folder

    assert mode(folder) == 0o700
