"""How programs find a stack whose ports are not the default ones."""

import subprocess
from pathlib import Path

import pytest

from tools.cli.stack_context import for_programs

_DEFAULT = {"customers": "127.0.0.1:50051", "wallets": "127.0.0.1:50052", "jobs": "127.0.0.1:50053"}


def test_programs_find_a_stack_with_the_default_ports_by_themselves(tmp_path: Path) -> None:
    assert not for_programs(tmp_path / "stack.env", _DEFAULT)


@pytest.mark.parametrize("folder", [".innosystem", ".", "my stack"])
@pytest.mark.parametrize("inside", [True, False])
def test_a_shell_takes_the_line_for_a_stack_with_other_ports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, inside: bool
) -> None:
    file = tmp_path / folder / "stack.env"
    file.parent.mkdir(exist_ok=True)
    file.write_text("JOBS_ADDRESS=127.0.0.1:1234\n", encoding="utf-8")
    if inside:
        monkeypatch.chdir(tmp_path)

    [line] = for_programs(file, {**_DEFAULT, "jobs": "127.0.0.1:1234"})

    shown = line.removeprefix("For programs: ")
    printed = subprocess.run(["sh", "-c", f"{shown}; env"], check=True, capture_output=True, text=True).stdout
    assert "JOBS_ADDRESS=127.0.0.1:1234\n" in printed
    assert not inside or str(tmp_path) not in line
