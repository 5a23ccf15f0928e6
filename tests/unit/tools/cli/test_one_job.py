"""One job by options is the line that says the same in a file."""

import io
import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from tools.cli.commands.submit.job_lines import Defaults, parse_line
from tools.cli.commands.submit.job_options import JobOptions
from tools.cli.commands.submit.line_ids import LineIds
from tools.cli.commands.submit.one_job import failed_attempt, line_of
from tools.errors import CommandError

TO = Defaults("01990000-0000-7000-8000-000000000201", "greet", "HIGH")


def test_options_become_the_fields_of_a_line() -> None:
    options = JobOptions(
        input='{"price": 1.10, "name": "Ada"}',
        label=("team=blue", "empty=", "a=b=c"),
        run_at=datetime(2026, 12, 24, 19, tzinfo=timezone(timedelta(hours=1))),
        expires_at=datetime(2026, 12, 25, tzinfo=UTC),
    )
    request = parse_line(line_of(options, 10).encode(), TO, LineIds())
    assert request.input_json == '{"price": 1.10, "name": "Ada"}'
    assert dict(request.labels) == {"team": "blue", "empty": "", "a": "b=c"}
    assert request.run_at.ToJsonString() == "2026-12-24T18:00:00Z"
    assert request.expires_at.ToJsonString() == "2026-12-25T00:00:00Z"
    assert request.max_cost_cents == 10
    assert (request.customer_id, request.job_type) == (TO.customer_id, TO.job_type)


def test_the_same_options_are_the_same_job_and_that_of_a_file() -> None:
    def job_id(options: JobOptions, key: str = "") -> str:
        return parse_line(line_of(options, None).encode(), TO, LineIds(key)).job_id

    first = job_id(JobOptions(input="1", label=("a=1", "b=2")))
    assert first == job_id(JobOptions(input="1", label=("b=2", "a=1")))
    assert first != job_id(JobOptions(input="2", label=("a=1", "b=2")))
    assert first != job_id(JobOptions(input="1", label=("a=1", "b=2")), "tomorrow")
    assert job_id(JobOptions(input="1")) == parse_line(b'{"input": 1}', TO, LineIds()).job_id
    # The rule can't change: a command may be repeated after an upgrade.
    assert job_id(JobOptions(input="1")) == "8a23296a-12fc-53b1-b278-8fdee89d3fa9"


def test_the_input_may_be_in_a_file_or_come_from_a_pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "input.json"
    file.write_text('{\n  "name": "Ada"\n}\n')
    from_file = parse_line(line_of(JobOptions(input_file=str(file)), None).encode(), TO, LineIds())
    assert json.loads(from_file.input_json) == {"name": "Ada"}
    monkeypatch.setattr("sys.stdin", io.StringIO("[1, 2]\n"))
    from_pipe = parse_line(line_of(JobOptions(input_file="-"), None).encode(), TO, LineIds())
    assert from_pipe.input_json == "[1, 2]"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (JobOptions(input="Ada"), "--input is not JSON"),
        (JobOptions(input="{" * 100_000), "--input is not JSON"),
        (JobOptions(label=("team",)), "--label 'team' has no value: --label team=blue"),
        (JobOptions(label=("=blue",)), "has no value"),
        (JobOptions(label=("team=blue", "team=red")), "--label team is given twice"),
        (JobOptions(input="1", input_file="x"), "give the input once"),
    ],
)
def test_what_is_no_job_is_refused_with_what_to_type(options: JobOptions, why: str) -> None:
    with pytest.raises(CommandError, match=why):
        line_of(options, None)


def test_an_empty_file_is_no_input(tmp_path: Path) -> None:
    file = tmp_path / "input.json"
    file.write_text("")
    with pytest.raises(CommandError, match="--input-file is not JSON"):
        line_of(JobOptions(input_file=str(file)), None)


@pytest.mark.parametrize(
    ("status", "attempt", "line"),
    [
        ("SCHEDULED", 1, "attempt 1 of 10 failed: KeyError: 'text'; again in 3 s"),
        ("RUNNING", 2, "attempt 1 of 10 failed: KeyError: 'text'; again now"),
        # An operator has retried it.
        ("PENDING", 0, ""),
        ("FAILED", 1, ""),
    ],
)
def test_a_failed_attempt_of_a_job_that_is_run_again_is_told(status: str, attempt: int, line: str) -> None:
    from innosystem.jobs.v1.job_pb2 import Job, JobError, JobStatus

    job = Job(
        status=JobStatus.Value(f"JOB_STATUS_{status}"),
        attempt=attempt,
        max_attempts=10,
        error=JobError(type="KeyError", message="'text'", attempt=1),
    )
    now = datetime(2026, 1, 31, tzinfo=UTC)
    job.run_at.FromDatetime(now + timedelta(seconds=3))
    assert failed_attempt(job, now) == line
