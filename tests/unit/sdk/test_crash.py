"""A crash point kills the process where it is armed, and nowhere else."""

import os
import signal
import subprocess
import sys

import pytest

LINE = "from innosystem.shared.crash import crash_point; crash_point('one'); print('alive')"


@pytest.mark.parametrize(
    ("armed", "status", "said"), [("one", -signal.SIGKILL, ""), ("other", 0, "alive\n"), ("", 0, "alive\n")]
)
def test_a_process_dies_at_the_line_that_the_environment_names_and_at_no_other(
    armed: str, status: int, said: str
) -> None:
    environment = {**os.environ, "INNOSYSTEM_CRASH_AT": armed, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run([sys.executable, "-c", LINE], env=environment, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (status, said)
