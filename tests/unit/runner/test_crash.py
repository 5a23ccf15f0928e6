"""A crash point kills the process only where it is armed."""

import os
import subprocess
import sys

CODE = "from innosystem.runner.crash import crash_point; crash_point('runner.running'); print('alive')"


def crash(**environment: str) -> tuple[int, str]:
    ended = subprocess.run(
        [sys.executable, "-c", CODE],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return ended.returncode, ended.stdout


def test_the_armed_point_kills_the_process_at_once() -> None:
    status, said = crash(INNOSYSTEM_CRASH_AT="runner.running")
    assert status == -9
    assert "alive" not in said


def test_other_points_and_a_process_that_is_not_armed_go_on() -> None:
    assert crash(INNOSYSTEM_CRASH_AT="runner.before_claim") == (0, "alive\n")
    assert crash() == (0, "alive\n")
