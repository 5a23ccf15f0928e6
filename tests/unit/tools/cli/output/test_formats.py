"""The formats of --output."""

import csv
import io
import json
from typing import Any

import pytest
import yaml
from cyclopts import App, CycloptsError
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from innosystem.customers.v1.customer_pb2 import ApiKey, Customer
from innosystem.jobs.v1.job_pb2 import JOB_STATUS_SUCCEEDED, Job, JobError
from innosystem.jobs.v1.job_service_pb2 import BatchCreateJobsRequest, CreateJobRequest, QueueStats
from innosystem.jobs.v1.job_type_pb2 import JobType
from innosystem.jobs.v1.runner_pb2 import Runner
from innosystem.wallets.v1.wallet_pb2 import Hold, Transaction, Wallet
from tools.cli.commands.customers.columns import API_KEYS, CUSTOMERS
from tools.cli.commands.job_types.columns import JOB_TYPES
from tools.cli.commands.jobs.columns import columns_of
from tools.cli.commands.queue import COLUMNS as QUEUES
from tools.cli.commands.runners import COLUMNS as RUNNERS
from tools.cli.commands.wallets.columns import HOLDS, TRANSACTIONS, wallet_columns
from tools.cli.listing import Found
from tools.cli.names import NO_NAMES
from tools.cli.output import (
    TABLE,
    TEXT,
    Columns,
    DocumentOutput,
    Output,
    field,
    print_document,
    print_list,
    print_one,
    to_json,
)
from tools.errors import CommandError

COLUMNS = Columns((field("id"), field("status"), field("cost_cents"), field("labels", wide=True)))
JOBS = [
    Job(id="a", status=JOB_STATUS_SUCCEEDED, cost_cents=1999, currency="EUR", labels={"team": "blue, red"}),
    Job(id="b"),
]


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str]) -> Any:
    """Return what is printed of the jobs in a format."""

    def run(output: Output, messages: Any = JOBS) -> str:
        print_list(messages, COLUMNS, output, nothing="No jobs found.")
        return capsys.readouterr().out

    return run


def test_the_table_has_its_columns_and_wide_has_all(shown: Any) -> None:
    assert "team" not in shown(TABLE)
    assert "19.99 EUR" in shown(TABLE)
    assert "team=blue" in shown(Output("wide"))


def test_json_is_one_list_and_jsonl_an_object_per_line(shown: Any) -> None:
    whole = json.loads(shown(Output("json")))
    lines = [json.loads(line) for line in shown(Output("jsonl")).splitlines()]
    assert whole == lines == [to_json(job) for job in JOBS]


def test_yaml_says_what_json_says(shown: Any) -> None:
    assert yaml.safe_load(shown(Output("yaml"))) == json.loads(shown(Output("json")))


def test_csv_has_fields_and_plain_values(shown: Any) -> None:
    rows = list(csv.reader(io.StringIO(shown(Output("csv")))))
    assert rows[0] == ["id", "status", "cost_cents", "currency", "labels"]
    assert rows[1] == ["a", "SUCCEEDED", "1999", "EUR", '{"team": "blue, red"}']
    assert rows[2] == ["b", "UNSPECIFIED", "", "", ""]


def test_csv_has_times_as_json_has_them_and_fields_of_fields(capsys: pytest.CaptureFixture[str]) -> None:
    job = Job(id="a", created_at=Timestamp(seconds=1), error=JobError(type="ValueError", message='no "x", here'))
    print_list([job], columns_of(NO_NAMES), Output("csv"), nothing="")
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert row["created_at"] == "1970-01-01T00:00:01Z"
    assert (row["error.type"], row["error.message"]) == ("ValueError", 'no "x", here')
    assert (row["attempt"], row["run_at"], row["customer"]) == ("0", "", "")


@pytest.mark.parametrize(
    ("message", "columns", "added"),
    [
        (Job(), columns_of(NO_NAMES, full=True), {"job_type", "customer"}),
        (JobType(), JOB_TYPES, set()),
        (Runner(), RUNNERS, set()),
        (QueueStats(), QUEUES, set()),
        (Customer(), CUSTOMERS, set()),
        (ApiKey(), API_KEYS, set()),
        (Wallet(), wallet_columns({}), {"customer"}),
        (Transaction(), TRANSACTIONS, set()),
        (Hold(), HOLDS, set()),
    ],
)
def test_the_fields_of_csv_are_those_of_the_contract(message: Message, columns: Columns, added: set[str]) -> None:
    for path in set(columns.fields()) - added:
        descriptor: Any = message.DESCRIPTOR
        for name in path.split("."):
            assert name in descriptor.fields_by_name, path
            descriptor = descriptor.fields_by_name[name].message_type


def test_name_prints_ids(shown: Any) -> None:
    assert shown(Output("name")) == "a\nb\n"


@pytest.mark.parametrize(
    ("output", "text"), [(TABLE, "No jobs found.\n"), (Output("json"), "[]\n"), (Output("jsonl"), "")]
)
def test_an_empty_list_is_said_to_people_and_empty_for_programs(shown: Any, output: Output, text: str) -> None:
    assert shown(output, []) == text


def test_what_the_limit_left_out_is_said_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    found = Found(JOBS)
    found.note = "2 of 1,234 shown; --limit 4 for more"
    print_list(found, COLUMNS, Output("name"), nothing="")
    assert capsys.readouterr() == ("a\nb\n", "2 of 1,234 shown; --limit 4 for more\n")


def test_one_message_is_an_object(capsys: pytest.CaptureFixture[str]) -> None:
    print_one(JOBS[0], COLUMNS, Output("json"))
    assert json.loads(capsys.readouterr().out)["cost_cents"] == 1999
    print_one(JOBS[0], COLUMNS, Output("name"))
    assert capsys.readouterr().out == "a\n"


def test_a_report_is_no_list() -> None:
    assert not print_document({}, TABLE)
    with pytest.raises(CommandError, match="-o csv is for lists"):
        print_document({}, Output("csv"))


def test_json_is_short_for_the_format_and_contradicts_others() -> None:
    assert Output(as_json=True).format == "json"
    with pytest.raises(CommandError, match="give one of them"):
        _ = Output("csv", as_json=True).format


@pytest.mark.parametrize(
    ("arguments", "chosen"),
    [([], "table"), (["-o", "wide"], "wide"), (["--output=csv"], "csv"), (["--json"], "json"), (["-ojsonl"], "jsonl")],
)
def test_the_command_line_has_the_options(arguments: list[str], chosen: str) -> None:
    app = App(result_action="return_value")

    @app.default
    def run(*, output: Output = TABLE) -> str:
        return output.format

    assert app(arguments, exit_on_error=False) == chosen


def test_a_command_without_a_list_refuses_formats_of_lists_before_it_does_anything() -> None:
    app = App(result_action="return_value")

    @app.default
    def run(*, output: DocumentOutput = TEXT) -> str:
        return output.format

    assert app(["-o", "yaml"], exit_on_error=False) == "yaml"
    assert app(["--json"], exit_on_error=False) == "json"
    for only_lists in ("csv", "name", "wide"):
        with pytest.raises(CycloptsError):
            app(["-o", only_lists], exit_on_error=False, print_error=False)


def test_whole_numbers_are_numbers_wherever_they_are() -> None:
    assert to_json(Wallet(current_balance_cents=9007199254740993))["current_balance_cents"] == 9007199254740993
    assert to_json(Wallet())["pending_charges_cents"] == 0
    batch = BatchCreateJobsRequest(requests=[CreateJobRequest(max_cost_cents=5)])
    assert to_json({"batch": [batch]})["batch"][0]["requests"][0]["max_cost_cents"] == 5


def test_inputs_that_were_not_asked_for_are_left_out() -> None:
    assert "input_json" not in to_json(Job())
    assert to_json(Job(input_json='""'))["input_json"] == '""'
    assert to_json(Job())["hold_id"] == ""
