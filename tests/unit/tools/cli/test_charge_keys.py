"""`innosystem charge-keys`: files of keys, and their rotation."""

from pathlib import Path

import pytest

from services.kit.charges.keys import KeyRing
from tools.cli.__main__ import main


def keys(file: Path) -> KeyRing:
    return KeyRing.parse(file.read_text(encoding="utf-8"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "charge-keys"
    assert main(["charge-keys", "create", str(path), "--id", "one"]) == 0
    return path


def test_a_new_file_is_for_its_owner_alone_and_has_a_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "charge-keys"
    assert main(["charge-keys", "create", str(file)]) == 0
    assert file.stat().st_mode & 0o777 == 0o600
    assert keys(file).ids == [capsys.readouterr().out.strip()]


def test_keys_rotate_in_three_steps(file: Path) -> None:
    before = file.read_text(encoding="utf-8")
    assert main(["charge-keys", "create", str(file), "--id", "two"]) == 0
    assert keys(file).ids == ["one", "two"]
    assert before in file.read_text(encoding="utf-8")
    assert main(["charge-keys", "promote", str(file), "two"]) == 0
    assert keys(file).ids == ["two", "one"]
    assert main(["charge-keys", "remove", str(file), "one"]) == 0
    assert keys(file).ids == ["two"]
    assert list(file.parent.iterdir()) == [file]


def test_a_file_keeps_who_may_read_it(file: Path) -> None:
    file.chmod(0o640)
    assert main(["charge-keys", "create", str(file)]) == 0
    assert file.stat().st_mode & 0o777 == 0o640


def test_a_list_tells_no_secret(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [key] = keys(file).keys
    for output in ("table", "json", "yaml"):
        assert main(["charge-keys", "list", str(file), "-o", output]) == 0
        shown = capsys.readouterr().out
        assert "one" in shown
        assert key.secret.hex() not in shown


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["create", "{file}", "--id", "one"], "has a key one already: choose another ID"),
        (["create", "{file}", "--id", "One"], "--id has to be 1 to 16 of a-z, 0-9 and -"),
        (["remove", "{file}", "one"], "one signs: promote another key first, and wait an hour"),
        (["remove", "{file}", "two"], "has no key two: it has one"),
        (["promote", "{file}", "two"], "has no key two: it has one"),
        (["list", "{file}.other"], "can't be read: No such file or directory"),
        (["create", "{file}/below"], "can't be written: Not a directory"),
    ],
)
def test_what_can_not_be_done_is_said_and_changes_nothing(
    file: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str
) -> None:
    before = file.read_bytes()
    assert main(["charge-keys", *(one.format(file=file) for one in arguments)]) == 1
    assert reason in capsys.readouterr().err
    assert file.read_bytes() == before


def test_a_file_that_holds_no_keys_is_not_written_over(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("something else", encoding="utf-8")
    assert main(["charge-keys", "create", str(file)]) == 1
    assert "line 1 is not ID:SECRET" in capsys.readouterr().err
    assert file.read_text(encoding="utf-8") == "something else"
