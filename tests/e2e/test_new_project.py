"""A project of `innosystem new`, as its README leads an author from its test to a charge."""

import json
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.commands import command, ended, started
from tools.demo.seed import ADA

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def ran(line: str, cwd: Path) -> str:
    """Run a line of the README that must succeed; return what it printed."""
    process = command(*shlex.split(line)[1:], cwd=cwd)
    printed, said = process.communicate(timeout=60)
    assert process.returncode == 0, printed + said
    return printed


def test_a_new_project_passes_its_test_and_its_handler_is_run_and_charged(folder: Path, tmp_path: Path) -> None:
    ran("innosystem new image-tools", tmp_path)
    project = tmp_path / "image-tools"
    tested = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(tested, check=False, cwd=project, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout

    lines = re.findall(r"^    (innosystem .*)$", (project / "README.md").read_text(), re.MULTILINE)
    check, register, run, submit = (
        next(line for line in lines if f"innosystem {name}" in line)
        for name in ("handlers check", "handlers register", "run", "submit")
    )
    stack, _ = started(folder, tmp_path, "--runners", "0")
    try:
        assert ran(check, project) == "1 handler, nothing to mend.\n"
        assert "created" in ran(register, project)
        assert "unchanged" in ran(register, project)
        assert ran(check.replace("--offline ", ""), project).endswith("1 handler, nothing to mend.\n")
        ran(
            "innosystem seed --yes" if "--yes" in ran("innosystem seed --help", project) else "innosystem seed", project
        )
        runner = command(*shlex.split(run)[1:], cwd=project)
        try:
            submitted = ran(submit, project)
        finally:
            runner.send_signal(signal.SIGTERM)
        assert ended(runner) == 0
        assert "Hello, Ada!" in submitted
        [job] = json.loads(ran("innosystem jobs list --full --json", project))
        assert (job["customer_id"], job["queue"]) == (ADA, "image-tools")
        assert (job["billing_status"], job["cost_cents"]) == ("BILLING_STATUS_CHARGED", 1)
        refused = command(*shlex.split(submit.replace('{"name": "Ada"}', "{}"))[1:], cwd=project)
        assert "INVALID" in refused.communicate(timeout=60)[1]
        assert refused.returncode == 1
    finally:
        stack.terminate()
        ended(stack)
