"""Updates: the mask names what differs, and every field that the service changes has an option and a line."""

import json
from dataclasses import fields as dataclass_fields
from pathlib import Path

import pytest

from innosystem.jobs.v1.job_type_pb2 import PRIORITY_HIGH, JobType
from services.jobs.rpc.job_type_convert import CHANGEABLE
from tools.cli.commands.job_types.fields import FIELDS, HELP, WRITABLE, JobTypeOptions, edited_fields
from tools.cli.updates import copied, mask_of

ENDPOINT = """
url: https://api.example.com/v1/{$.id}
method: PUT
headers: {Authorization: "Bearer {secret:KEY}"}
body: {amount: "{$.amount}", list: [1, 2.5, null]}
rules:
- {status: 409, then: success}
- {status: 5xx, then: failure}
- {status: 200-299, path: $.ok, equals: false, then: retry}
- {path: $.error, then: failure}
output: $.result
"""


def changed(job_type: JobType, before: JobType) -> list[str]:
    return list(mask_of(before, job_type, WRITABLE).paths)


def test_the_mask_names_what_differs_and_no_more() -> None:
    before = JobType(name="a", queue="q", enabled=True, max_attempts=3)
    after = copied(before)
    assert changed(after, before) == []
    after.name, after.max_attempts, after.enabled, after.etag = "b", 0, False, "7"
    after.timeout.FromSeconds(5)
    after.retry_policy.multiplier = 3
    assert changed(after, before) == ["name", "enabled", "max_attempts", "timeout", "retry_policy"]
    assert before.name == "a"


def test_a_flag_that_was_never_set_differs_from_one_that_is_off() -> None:
    assert changed(JobType(enabled=False), JobType()) == ["enabled"]


def test_all_that_the_service_changes_can_be_typed_and_edited() -> None:
    assert set(WRITABLE) == set(CHANGEABLE)
    assert [field.name for field in edited_fields()] == list(FIELDS) == list(HELP)
    options = {field.name for field in dataclass_fields(JobTypeOptions)}
    assert set(FIELDS) - options == {"name", "processor_type", "standard_cost"}
    assert options <= set(FIELDS)


@pytest.mark.parametrize(
    ("name", "typed", "path"),
    [
        ("name", "new", "name"),
        ("processing_logic_id", "other", "processing_logic_id"),
        ("processor_type", "sync", "processor_type"),
        ("standard_cost", "0.07EUR", "standard_cost_cents"),
        ("description", "About it", "description"),
        ("queue", "slow", "queue"),
        ("default_priority", "HIGH", "default_priority"),
        ("max_attempts", "7", "max_attempts"),
        ("timeout", "2m", "timeout"),
        ("expires_after", "1d", "expires_after"),
        ("retry_initial_backoff", "10ms", "retry_policy"),
        ("retry_multiplier", "1.5", "retry_policy"),
        ("retry_max_backoff", "1h", "retry_policy"),
        ("enabled", "true", "enabled"),
        ("input_schema", '{"type": "object"}', "input_schema_json"),
        ("external_api", ENDPOINT, "external_api, processing_logic_id, processor_type"),
    ],
)
def test_each_field_is_written_where_it_belongs_and_read_back(name: str, typed: str, path: str) -> None:
    [field] = [one for one in edited_fields() if one.name == name]
    before = JobType(currency="EUR")
    after = copied(before)
    field.write(after, typed)
    assert ", ".join(sorted(changed(after, before))) == path
    shown = str(field.show(after))
    again = copied(before)
    field.write(again, shown)
    if name == "input_schema":
        assert json.loads(shown) == json.loads(typed)
    else:
        assert again == after


def test_an_endpoint_is_read_from_yaml() -> None:
    job_type = JobType()
    [field] = [one for one in edited_fields() if one.name == "external_api"]
    field.write(job_type, ENDPOINT)

    described = job_type.external_api
    assert (described.url, described.method) == ("https://api.example.com/v1/{$.id}", "PUT")
    assert json.loads(described.body_json) == {"amount": "{$.amount}", "list": [1, 2.5, None]}
    assert [(one.status_from, one.status_to, one.path, one.equals_json, one.meaning) for one in described.rules] == [
        (409, 0, "", "", 1),
        (500, 599, "", "", 3),
        (200, 299, "$.ok", "false", 2),
        (0, 0, "$.error", "", 3),
    ]
    assert job_type.processing_logic_id == "innosystem.http"
    field.write(job_type, "")
    assert not job_type.HasField("external_api")


@pytest.mark.parametrize(
    ("name", "typed", "why"),
    [
        ("standard_cost", "5USD", "the job type is priced in EUR, which can't be changed to USD"),
        ("standard_cost", "5", "not an amount with its currency"),
        ("default_priority", "URGENT", "'URGENT' is not HIGH or MEDIUM or LOW"),
        ("processor_type", "MAGIC", "is not SYNC or ASYNC or BATCH or EXTERNAL_API"),
        ("max_attempts", "many", "is not a whole number"),
        ("retry_multiplier", "twice", "is not a number"),
        ("enabled", "perhaps", "is not true or false"),
        ("external_api", "{$", "not YAML"),
        ("external_api", "https://api.example.com", "an endpoint has url, method"),
        ("external_api", "uri: https://api.example.com", "an endpoint has no 'uri', but url, method"),
        ("external_api", "rules: [{status: 20, then: retry}]", "'20' is not 409, 400-499 or 4xx"),
        ("external_api", "rules: [{status: 200, then: again}]", "'again' is not success or retry or failure"),
        ("external_api", "headers: [a]", "`Name: value` is expected"),
    ],
)
def test_a_wrong_value_says_what_is_right(name: str, typed: str, why: str) -> None:
    [field] = [one for one in edited_fields() if one.name == name]
    with pytest.raises(ValueError, match=why):
        field.write(JobType(currency="EUR"), typed)


def test_options_that_are_not_given_leave_their_fields(tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "string"}')
    job_type = JobType(description="as it was", max_attempts=3)
    JobTypeOptions(default_priority="HIGH", enabled=False, input_schema=str(schema)).set_on(job_type)
    assert job_type == JobType(
        description="as it was",
        max_attempts=3,
        default_priority=PRIORITY_HIGH,
        enabled=False,
        input_schema_json='{"type": "string"}',
    )
