"""Tables, pairs and cells for people."""

import io

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from innosystem.jobs.v1.job_pb2 import JOB_STATUS_PENDING, Job, JobError
from innosystem.jobs.v1.job_service_pb2 import QueueStats
from innosystem.jobs.v1.job_type_pb2 import PRIORITY_HIGH, JobType
from tools.cli.output import cell, console, print_pairs, print_table, printable

LONG = "0" * 300


def test_a_terminal_loses_nothing_of_a_long_value(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow = console()
    narrow.width = 40
    monkeypatch.setattr("tools.cli.output.text.console", lambda: narrow)
    print_table(["a"], [[LONG]])
    print_pairs({"a": LONG})
    assert capsys.readouterr().out.count("0") == 2 * len(LONG)


def test_lines_of_pairs_end_with_their_values(capsys: pytest.CaptureFixture[str]) -> None:
    print_pairs({"a": "1", "longer": "two\nlines", "not set": "-"})
    assert capsys.readouterr().out == "a       1\nlonger  two\n        lines\n"


def test_brackets_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["a"], [["[red]x[/red] :smile:"]])
    print_pairs({"a": "[/nothing]"})
    out = capsys.readouterr().out
    assert "[red]x[/red] :smile:" in out
    assert "[/nothing]" in out


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert printable("a\x1b[2J\rb\nc é") == "a\\x1b[2J\\rb\nc é"


def test_cells_are_for_people() -> None:
    job = Job(
        status=JOB_STATUS_PENDING,
        priority=PRIORITY_HIGH,
        labels={"b": "2", "a": "1"},
        created_at=Timestamp(seconds=1),
        error=JobError(type="ValueError", message="bad", attempt=2),
    )
    assert cell(job, "status") == "PENDING"
    assert cell(job, "priority") == "HIGH"
    assert cell(job, "labels") == "a=1, b=2"
    assert cell(job, "created_at") == "1970-01-01 00:00:01Z"
    assert cell(job, "error") == "type: ValueError, message: bad, attempt: 2"
    assert cell(job, "cost_cents") == cell(job, "started_at") == cell(job, "queue") == "-"
    assert cell(job, "attempt") == "0"
    assert cell(JobType(enabled=False), "enabled") == "no"
    assert cell(QueueStats(oldest_age=Duration(seconds=90, nanos=40_000_000)), "oldest_age") == "1 m 30 s"
    assert cell(QueueStats(submitted_per_second=1.25), "submitted_per_second") == "1.2"


def test_a_value_that_the_contract_does_not_know_is_shown_as_a_number() -> None:
    assert cell(Job.FromString(b"\x20\x63"), "status") == "99"


def test_output_goes_to_the_file_that_is_given() -> None:
    target = io.StringIO()
    console(target).print("x" * 500)
    assert target.getvalue() == "x" * 500 + "\n"
