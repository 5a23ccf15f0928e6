"""Values that job types refuse are refused by the option, in its own words."""

import pytest

from innosystem.jobs.v1.job_type_pb2 import JobType
from tools.cli.__main__ import main
from tools.cli.commands.job_types.fields import FIELDS

CREATE = ("job-types", "create", "--name", "greet", "--standard-cost", "0EUR")


@pytest.mark.parametrize(
    ("option", "value", "problem"),
    [
        ("--max-attempts", "0", "--max-attempts: 1 to 100; 1 means that a failed job is not run again"),
        ("--max-attempts", "101", "--max-attempts: 1 to 100; 1 means that a failed job is not run again"),
        ("--timeout", "0", "--timeout: 1s to 24h"),
        ("--timeout", "25h", "--timeout: 1s to 24h"),
        ("--expires-after", "91d", "--expires-after: 1s to 90d"),
        ("--retry-initial-backoff", "0", "--retry-initial-backoff: 1ms to 24h"),
        ("--retry-max-backoff", "25h", "--retry-max-backoff: 1ms to 24h"),
        ("--retry-multiplier", "0", "--retry-multiplier: 1 to 10"),
        (
            "--queue",
            "Not_A_Queue",
            "--queue: 'Not_A_Queue' is not 1 to 50 lower-case letters, digits and dashes, the first of them no dash",
        ),
    ],
)
def test_a_value_that_is_not_allowed_is_refused_by_the_name_of_its_option(
    option: str, value: str, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main((*CREATE, option, value)) == 2
    assert capsys.readouterr().err == f"innosystem: {problem}\n"


@pytest.mark.parametrize(
    ("name", "lowest", "highest"),
    [
        ("max_attempts", "1", "100"),
        ("timeout", "1s", "24h"),
        ("expires_after", "1s", "90d"),
        ("retry_initial_backoff", "1ms", "24h"),
        ("retry_max_backoff", "1ms", "24h"),
        ("retry_multiplier", "1", "10"),
    ],
)
def test_what_is_allowed_is_what_the_contract_allows(name: str, lowest: str, highest: str) -> None:
    import protovalidate

    for text in (lowest, highest):
        job_type = JobType(name="greet")
        FIELDS[name].write(job_type, FIELDS[name].read(text))
        protovalidate.validate(job_type)


def test_a_choice_is_taken_in_any_case(capsys: pytest.CaptureFixture[str]) -> None:
    # Both words are taken, and the number is refused after them.
    assert main((*CREATE, "--processor-type", "sync", "--default-priority", "High", "--max-attempts", "0")) == 2
    assert "--max-attempts" in capsys.readouterr().err
    assert main((*CREATE, "--processor-type", "synk")) == 2
    assert "PROCESSOR-TYPE" in capsys.readouterr().err
