"""Values that job types refuse are refused by the option, in its own words."""

import pytest

from innosystem.jobs.v1 import job_type_pb2
from innosystem.jobs.v1.job_type_pb2 import JobType
from tools.cli.__main__ import main
from tools.cli.commands.job_types.fields import FIELDS, set_option
from tools.errors import UsageError

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


METERED = ("--unit", "token", "--unit-price", "0.00002EUR", "--maximum-cost", "5EUR")


@pytest.mark.parametrize("left_out", [0, 2, 4])
def test_a_price_by_usage_is_given_as_a_whole(left_out: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main((*CREATE, *METERED[:left_out], *METERED[left_out + 2 :])) == 2
    assert "a price by usage needs all of it" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--unit-price", "--maximum-cost"])
def test_a_price_by_usage_is_in_the_currency_of_the_job_type(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    at = METERED.index(option)
    assert main((*CREATE, *METERED[:at], option, "1USD", *METERED[at + 2 :])) == 2
    assert "priced in EUR, and not in USD" in capsys.readouterr().err


def test_the_parts_of_a_price_by_usage_are_read_as_they_are_shown_and_emptied() -> None:
    job_type = JobType(name="greet", currency="EUR")
    for name, text in (("unit", "token"), ("unit_price", "0.00002 EUR"), ("maximum_cost", "5.00 EUR")):
        FIELDS[name].write(job_type, FIELDS[name].read(text))
        assert FIELDS[name].show(job_type) == text
    metering = job_type.metering
    assert (metering.unit, metering.unit_price_micro_cents, metering.max_cost_cents) == ("token", 2_000, 500)
    for name in ("unit", "unit_price", "maximum_cost"):
        FIELDS[name].write(job_type, FIELDS[name].read(""))
    assert not job_type.HasField("metering")


def test_an_endpoint_of_webhooks_is_read_from_json_and_sets_type_and_handler() -> None:
    job_type = JobType()
    set_option(job_type, "webhook", '{"url": "https://hooks.example.com/", "signing_secret": "hooks"}')
    assert job_type.webhook.url == "https://hooks.example.com/"
    assert job_type.processor_type == job_type_pb2.PROCESSOR_TYPE_WEBHOOK
    assert job_type.processing_logic_id == "innosystem.webhook"
    shown = str(FIELDS["webhook"].show(job_type))
    again = JobType()
    set_option(again, "webhook", shown)
    assert again == job_type
    set_option(again, "webhook", "")
    assert not again.HasField("webhook")


@pytest.mark.parametrize("text", ["{", '{"adress": "x"}'], ids=["no JSON", "an unknown field"])
def test_an_endpoint_of_webhooks_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--webhook: no JSON of the contract's Webhook"):
        set_option(JobType(), "webhook", text)
