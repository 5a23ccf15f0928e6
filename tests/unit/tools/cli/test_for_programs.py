"""How programs find a stack, and say who they are."""

import subprocess
from pathlib import Path

import pytest

from tools.cli.stack_context import for_programs


@pytest.mark.parametrize("folder", [".innosystem", ".", "my stack"])
@pytest.mark.parametrize("inside", [True, False])
def test_a_shell_takes_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, inside: bool) -> None:
    file = tmp_path / folder / "stack.env"
    file.parent.mkdir(exist_ok=True)
    file.write_text("JOBS_ADDRESS=127.0.0.1:1234\n", encoding="utf-8")
    if inside:
        monkeypatch.chdir(tmp_path)

    line = for_programs(file)

    shown = line.removeprefix("For programs: ")
    printed = subprocess.run(["sh", "-c", f"{shown}; env"], check=True, capture_output=True, text=True).stdout
    assert "JOBS_ADDRESS=127.0.0.1:1234\n" in printed
    assert not inside or str(tmp_path) not in line
