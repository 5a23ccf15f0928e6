"""Ctrl-C on a terminal, while a command waits for a person."""

import sys
from pathlib import Path

import pytest

from tests.support.terminal import Typist

# As cyclopts runs a command: Ctrl-C cancels the task of a coroutine.
COMMAND = """
import asyncio, sys
from tools.cli.__main__ import main
import tools.cli.commands.status.command as command

async def status() -> None:
    {waits}
    sys.stderr.write("continued\\n")

command.status = status
sys.exit(main(["status"]))
"""
WAITS = {
    "a confirmation": 'from tools.cli.confirmation import confirmed; confirmed(["Paid."], yes=False, dry_run=False)',
    "a secret": 'from tools.cli.secret_input import read_secret; print("Type", flush=True); read_secret("API key")',
    "an input": """from tools.cli.commands.submit.one_job import line_of
    from tools.cli.commands.submit.job_options import JobOptions
    print("Type", flush=True); line_of(JobOptions(input_file="-"), None)""",
    "a schema": """from tools.cli.commands.job_types.fields import _read_file
    print("Type", flush=True); _read_file("-")""",
}


@pytest.mark.parametrize("waits", WAITS)
def test_the_first_ctrl_c_ends_a_command_that_waits_for_a_person(waits: str) -> None:
    with Typist(COMMAND.format(waits=WAITS[waits])) as person:
        person.waits_for("API key: " if waits == "a secret" else "Type")
        person.types("\x03")
        assert person.ends() == 130
    assert "continued" not in person.screen
    assert "Traceback" not in person.screen
    assert ("innosystem: nothing was done" in person.screen) == (waits == "a confirmation")


def test_ctrl_c_just_before_the_question_ends_the_command_as_well() -> None:
    before = "import os, signal; os.kill(os.getpid(), signal.SIGINT)"
    with Typist(COMMAND.format(waits=f"{before}; {WAITS['a confirmation']}")) as person:
        assert person.ends() == 130
    assert "Type yes" not in person.screen


def test_a_typed_yes_goes_on() -> None:
    with Typist(COMMAND.format(waits=WAITS["a confirmation"])) as person:
        person.waits_for("Type yes: ")
        person.types("yes\n")
        assert person.ends() == 0
    assert "continued" in person.screen


def test_ctrl_c_in_an_editor_is_the_editors(tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    # As in vi, Ctrl-C ends no more than what the editor does at the moment.
    editor.write_text(
        f"#!{sys.executable}\n"
        "import time\n"
        "try:\n    print('editing', flush=True); time.sleep(60)\n"
        "except KeyboardInterrupt:\n    print('edited')\n"
    )
    editor.chmod(0o755)
    waits = (
        f"import os, pathlib; os.environ['VISUAL'] = {str(editor)!r}\n"
        "    from tools.cli.editing import _open_editor; _open_editor(pathlib.Path('x')); await asyncio.sleep(0)"
    )
    with Typist(COMMAND.format(waits=waits)) as person:
        person.waits_for("editing")
        person.types("\x03")
        assert person.ends() == 0
    assert person.screen.index("edited") < person.screen.index("continued")
