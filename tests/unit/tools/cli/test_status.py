"""What `innosystem status` concludes from what it has seen."""

import time
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from innosystem.jobs.v1 import runner_pb2
from tools.cli.__main__ import main
from tools.cli.commands.status.command import _drawn, _print
from tools.cli.commands.status.parts import _log, _reason, _service, _unreachable
from tools.cli.commands.status.report import Found, Part, Report
from tools.cli.commands.status.work import _left_running
from tools.cli.identity import ServiceHealth
from tools.cli.output import TEXT
from tools.local.contexts import Context, changed_contexts
from tools.local.target import Target


def runner(state: str, **values: Any) -> runner_pb2.Runner:
    """Return a runner that was seen 40 s ago."""
    number = runner_pb2.RunnerState.Value(f"RUNNER_STATE_{state}")
    one = runner_pb2.Runner(id=str(uuid4()), state=number, **{"host": "here", **values})
    one.last_seen_at.FromSeconds(int(time.time()) - 40)
    return one


def test_jobs_of_a_lost_runner_are_a_line_until_their_leases_have_ended() -> None:
    lost, earlier = runner("LOST", busy=1), runner("LOST", busy=3)
    earlier.last_seen_at.FromSeconds(int(time.time()) - 3600)
    [problem] = _left_running([lost, earlier, runner("LOST"), runner("ACTIVE", busy=2)])
    assert problem.what == (
        f"the runner {lost.id[:8]} on here was lost with 1 job: its lease ends soon, then another runner takes it"
    )
    assert problem.command == f"innosystem runners show {lost.id}"


def test_what_was_not_checked_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    parts = [Part("jobs", "a:1", "serving"), Part("jobs database", "", "unknown"), Part("Redis", "", "unknown")]
    _print(Report("context staging (a:1)", Found(parts)), TEXT)
    assert capsys.readouterr().out.endswith(
        "\nNothing is wrong in what was checked; not checked: jobs database, Redis\n"
        "    context staging (a:1) does not say where they are\n"
    )
    _print(Report("context staging (a:1)", Found(parts[:1])), TEXT)
    assert capsys.readouterr().out.endswith("\nNothing is wrong.\n")


def test_a_service_that_can_not_use_its_database_is_no_problem_of_its_own(tmp_path: Any) -> None:
    with changed_contexts() as contexts:
        contexts.known["a"] = Context("a", stack=tmp_path)
    chosen = Target({"JOBS_ADDRESS": "a:1"}, "the context a", context="a")
    health = ServiceHealth("NOT_SERVING", "", "")
    assert _service(chosen, "jobs", health, "connection refused").problems == []
    [problem] = _service(chosen, "jobs", health, "").problems
    assert problem.command == _log(chosen, "jobs") == f"tail {tmp_path}/logs/jobs.log"
    assert _unreachable(chosen, "jobs", "a:1", "no response").command == problem.command


def test_the_lines_of_a_reason_are_separated() -> None:
    error = psycopg.OperationalError("connection failed: Connection refused\n\tIs the server running on that host?\n")
    assert _reason(error) == "connection failed: Connection refused; Is the server running on that host?"


def test_a_pipe_is_not_redrawn(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--context", "default", "status", "--watch"]) == 2
    assert "--watch redraws a terminal" in capsys.readouterr().err


def test_what_a_terminal_is_redrawn_with_is_the_report(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report("context a (a:1)", Found([Part("jobs", "a:1", "serving")]))
    _print(report, TEXT)
    assert _drawn(report).plain == capsys.readouterr().out
