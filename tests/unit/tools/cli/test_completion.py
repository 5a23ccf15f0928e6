"""The completion that the command prints, in the shells themselves."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tools.cli.__main__ import main


def script(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Return what `innosystem completion` prints."""
    assert main(["completion", shell]) == 0
    return capsys.readouterr().out


def completed(script: str, *words: str) -> set[str]:
    """Let bash complete the last word."""
    program = f"""
{script}
complete -p innosystem
COMP_WORDS=("$@")
COMP_CWORD=$(( $# - 1 ))
_innosystem
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(
        ["bash", "--norc", "-s", "--", *words], input=program, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr == ""
    registered, *replies = done.stdout.splitlines()
    assert registered == "complete -F _innosystem innosystem"
    return set(replies)


def test_bash_completes_commands_options_and_values(capsys: pytest.CaptureFixture[str]) -> None:
    printed = script("bash", capsys)
    assert {"status", "jobs", "context", "wallets", "completion"} <= completed(printed, "innosystem", "")
    assert completed(printed, "innosystem", "wal") == {"wallets"}
    assert {"list", "cancel", "retry"} <= completed(printed, "innosystem", "jobs", "")
    assert {"--filter", "--limit", "--context", "--env-file"} <= completed(printed, "innosystem", "jobs", "list", "--")
    assert completed(printed, "innosystem", "completion", "") == {"bash", "zsh", "fish"}
    assert {"table", "json", "csv"} <= completed(printed, "innosystem", "jobs", "list", "-o", "")
    # The value of an option is no command.
    assert completed(printed, "innosystem", "--context", "jobs", "wal") == {"wallets"}


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_theirs(shell: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    printed = script(shell, capsys)
    assert "status" in printed
    assert "--env-file" in printed
    if program := shutil.which(shell):
        file = tmp_path / "script"
        file.write_text(printed)
        checked = subprocess.run([program, "-n", str(file)], capture_output=True, text=True, check=False, timeout=60)
        assert (checked.returncode, checked.stderr) == (0, "")
