"""A crash point kills the process where it is armed, and nowhere else."""

import json
import os
import signal
import subprocess
import sys

import pytest

LINE = "from innosystem.shared.crash import crash_point; crash_point('one'); print('alive')"
AS_A_RUNNER = f"from innosystem.runner.logs import configure_logs; configure_logs('INFO', 'json'); {LINE}"


def ended(code: str, armed: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "INNOSYSTEM_CRASH_AT": armed, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("armed", "status", "alive"), [("one", -signal.SIGKILL, False), ("other", 0, True), ("", 0, True)]
)
def test_a_process_dies_at_the_line_that_the_environment_names_and_at_no_other(
    armed: str, status: int, alive: bool
) -> None:
    process = ended(LINE, armed)
    assert (process.returncode, "alive" in process.stdout) == (status, alive)


def test_the_log_has_the_point_as_a_field_of_its_event() -> None:
    line = json.loads(ended(AS_A_RUNNER, "one").stdout)
    assert (line["event"], line["name"]) == ("crash_point", "one")
