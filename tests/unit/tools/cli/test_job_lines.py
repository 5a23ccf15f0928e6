"""How lines become jobs."""

import json
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innosystem.jobs.v1.job_service_pb2 import CreateJobRequest
from innosystem.jobs.v1.job_type_pb2 import PRIORITY_HIGH, PRIORITY_LOW, PRIORITY_UNSPECIFIED
from tools.cli.commands.submit.job_lines import (
    BATCH_BYTES_MAX,
    BATCH_JOBS_MAX,
    MALFORMED,
    Defaults,
    MalformedLine,
    batches,
    parse_line,
    raw_members,
)
from tools.cli.commands.submit.line_ids import LineIds

DEFAULTS = Defaults(customer_id="customer", job_type="type")
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def parsed(line: bytes, defaults: Defaults) -> CreateJobRequest:
    """The job of a line that is the first of its file."""
    return parse_line(line, defaults, LineIds())


def ids(*lines: bytes, key: str = "") -> list[str]:
    """The IDs of the jobs of a file."""
    return [request.job_id for batch in batches(lines, DEFAULTS, key) for _, request in batch.jobs]


@pytest.mark.parametrize(
    "text",
    [
        "123456789012345678901234567890",
        "1.10",
        "0.1000000000000000055511151231257827",
        "-0",
        "1E400",
        '{"b" : 1,  "a":[ 2 ]}',
        '"\\u00e9\\/é"',
        "9" * 5000,
    ],
)
def test_the_text_of_an_input_is_not_changed(text: str) -> None:
    assert parsed(f'{{"input": {text} }}'.encode(), DEFAULTS).input_json == text


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.text(), JSON_VALUES), st.sampled_from([None, 2]), st.booleans())
def test_members_hold_what_json_says(members: dict[str, object], indent: int | None, ascii_only: bool) -> None:
    found = raw_members(json.dumps(members, indent=indent, ensure_ascii=ascii_only))
    assert {name: json.loads(text) for name, text in found.items()} == members


def test_a_line_says_all_of_a_job() -> None:
    line = {
        "job_type": "echo",
        "customer_id": "ada",
        "priority": "low",
        "job_id": "id",
        "labels": {"team": "a"},
        "max_cost_cents": 0,
        "input": None,
    }
    request = parsed(json.dumps(line).encode(), Defaults("other", "other", "HIGH"))
    assert (request.job_type, request.customer_id, request.job_id) == ("echo", "ada", "id")
    assert request.priority == PRIORITY_LOW
    assert dict(request.labels) == {"team": "a"}
    assert request.HasField("max_cost_cents")
    assert request.input_json == "null"


def test_what_a_line_does_not_say_is_the_default() -> None:
    request = parsed(b'{"priority": null}', Defaults("ada", "echo", "HIGH"))
    assert (request.job_type, request.customer_id, request.priority) == ("echo", "ada", PRIORITY_HIGH)
    assert parsed(b"{}", DEFAULTS).priority == PRIORITY_UNSPECIFIED
    assert not request.HasField("max_cost_cents")


def test_the_same_lines_are_the_same_jobs_whenever_they_are_submitted() -> None:
    lines = (b'{"input": 1}', b'{"input": 2}', b'{"input": 1}')
    first = ids(*lines)
    assert len(set(first)) == 3
    assert all(UUID(each).version == 5 for each in first)
    assert ids(*lines) == first
    # What is written here must be so in every release: a submission may be repeated after an upgrade.
    assert first[0] == "ca978f4e-6579-50d9-9d43-74e77c703dfd"


PAYER = "01990000-0000-7000-8000-0000000002ab"


@pytest.mark.parametrize(
    "other",
    [
        b'{"input":{"n":1.10,"path":"i.py"},"labels":{"a":"1","b":"2"},"run_at":"2026-01-31T12:00:00Z"}',
        b'{"run_at": "2026-01-31T12:00:00Z", "labels": {"b": "2", "a": "1"}, "input": {"path": "i.py",  "n": 1.10}}',
        b'{"input": {"path": "\\u0069.py", "n": 1.10},"labels":{"b":"2","a":"1"},"run_at": "2026-01-31T12:00:00.0Z"}',
        b'{"input": {"path": "i.py", "n": 1.10}, "labels": {"b": "2", "a": "1"}, "run_at": "2026-01-31T13:00:00+01:00",'
        b' "customer_id": "01990000-0000-7000-8000-0000000002AB", "job_type": "type", "max_cost_cents": null}',
    ],
)
def test_the_same_job_is_the_same_however_it_is_written(other: bytes) -> None:
    line = b'{"input": {"path": "i.py", "n": 1.10}, "labels": {"b": "2", "a": "1"}, "run_at": "2026-01-31T12:00:00Z"}'
    defaults = Defaults(PAYER, "type")
    assert parsed(other, defaults).job_id == parsed(line, defaults).job_id


def test_an_input_that_is_left_out_is_null() -> None:
    assert parsed(b"{}", DEFAULTS).job_id == parsed(b'{"input": null}', DEFAULTS).job_id


def test_jobs_that_differ_in_anything_are_different() -> None:
    lines = [
        b"{}",
        *(
            b'{"input": %s}' % text
            for text in (b"1", b'"1"', b"1.0", b"1.10", b"1.1", b"1e0", b"[0,1]", b'[0,"1"]', b"true", b"[]", b"{}")
        ),
        *(
            b'{"input": %s}' % text
            for text in (b"[1,2]", b"[2,1]", b'{"a":1}', b'{"b":1}', b'"a "', b'"a"', b"9" * 5000)
        ),
        b'{"labels": {"a": "1"}}',
        b'{"labels": {"a": "2"}}',
        b'{"max_cost_cents": 0}',
        b'{"max_cost_cents": 1}',
        b'{"run_at": "2026-01-31T12:00:00Z"}',
        b'{"expires_at": "2026-01-31T12:00:00Z"}',
        b'{"priority": "HIGH"}',
    ]
    assert len({parsed(line, DEFAULTS).job_id for line in lines}) == len(lines)


def test_what_is_added_repaired_or_moved_makes_no_other_line_another_job() -> None:
    one, two, three = ids(b'{"input": 1}', b'{"input": 2}', b'{"input": 3}')
    assert ids(b'{"input": 0}', b'{"input": 1}', b'{"input": 2}\r\n', b'{"input": 3}', b"{}")[1:4] == [one, two, three]
    assert ids(b"oops", b'{"input": 3}', b'{"input": 1}') == [three, one]


def test_another_key_payer_type_or_priority_makes_it_another_job() -> None:
    [plain] = ids(b"{}")
    others = [
        *ids(b"{}", key="2026-01-31"),
        *(parsed(b"{}", Defaults(*each)).job_id for each in (("grace", "type"), ("customer", "other"))),
        parsed(b"{}", Defaults("customer", "type", "HIGH")).job_id,
    ]
    assert len({plain, *others}) == len(others) + 1
    assert ids(b'{"customer_id": "grace"}') == [parsed(b"{}", Defaults("grace", "type")).job_id]
    assert parsed(b"{}", DEFAULTS).job_id == plain


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"[1]", "a JSON object is expected"),
        (b"nonsense", "a JSON object is expected"),
        (b'{"input": 1', "',' is expected at character 12"),
        (b'{"input" 1}', "':' is expected at character 10"),
        (b'{"input": }', "Expecting value"),
        (b'{"input": 1,}', "a name in double quotes is expected"),
        (b"{5: 1}", "a name in double quotes is expected"),
        (b'{"input": 1} {}', "unexpected text after the object, at character 14"),
        (b'{"input": NaN}', "NaN is not JSON"),
        (b'{"input": [-Infinity]}', "-Infinity is not JSON"),
        (b'{"input": 1, "input": 2}', "'input' occurs twice"),
        (b'{"inputs": 1}', "unknown field 'inputs'"),
        (b'{"job_type": 5}', "'job_type' must be a text"),
        (b'{"priority": "URGENT"}', "must be one of HIGH, MEDIUM, LOW"),
        (b'{"labels": {"a": 1}}', "'labels' must be an object of texts"),
        (b'{"labels": []}', "'labels' must be an object of texts"),
        (b'{"run_at": "tomorrow"}', "'run_at' must be a time"),
        (b'{"expires_at": 5}', "'expires_at' must be a time"),
        (b'{"max_cost_cents": 1.5}', "'max_cost_cents' must be a whole number"),
        (b'{"max_cost_cents": true}', "'max_cost_cents' must be a whole number"),
        (b'{"max_cost_cents": 9223372036854775808}', "9223372036854775808"),
        (b'{"job_type": "\\ud800"}', "surrogate"),
        (b'{"job_type": "\xff"}', "not UTF-8"),
        (b'{"input": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deep"),
        (b"{", "a name in double quotes is expected"),
    ],
)
def test_a_line_that_is_no_job_says_why(line: bytes, message: str) -> None:
    with pytest.raises(MalformedLine, match=message.replace("(", r"\(")):
        parsed(line, DEFAULTS)


def test_who_pays_and_what_is_run_must_be_known() -> None:
    with pytest.raises(MalformedLine, match="'customer_id' is missing: give it here or as --customer-id"):
        parsed(b"{}", Defaults(job_type="echo"))
    with pytest.raises(MalformedLine, match="'job_type' is missing: give it here or as --job-type"):
        parsed(b"{}", Defaults(customer_id="ada"))


def test_a_malformed_line_does_not_stop_the_others() -> None:
    (batch,) = batches([b"\xef\xbb\xbf{}\n", b"\n", b"oops\n", b'{"input": 2}\r\n', b"{"], DEFAULTS)
    assert [number for number, _ in batch.jobs] == [1, 4]
    assert [(each.line, each.reason) for each in batch.malformed] == [(3, MALFORMED), (5, MALFORMED)]


def test_a_file_without_jobs_gives_no_batch() -> None:
    assert list(batches([b"\n", b"  \n"], DEFAULTS)) == []


def test_batches_have_a_limit_of_jobs() -> None:
    sizes = [len(batch.jobs) for batch in batches([b"{}"] * (2 * BATCH_JOBS_MAX + 1), DEFAULTS)]
    assert sizes == [BATCH_JOBS_MAX, BATCH_JOBS_MAX, 1]


def test_batches_have_a_limit_of_bytes() -> None:
    third = b'{"input": "' + b"x" * (BATCH_BYTES_MAX // 3) + b'"}'
    found = list(batches([third] * 5, DEFAULTS))
    assert [len(batch.jobs) for batch in found] == [2, 2, 1]
    assert all(sum(request.ByteSize() for _, request in batch.jobs) <= BATCH_BYTES_MAX for batch in found)


def test_a_job_larger_than_a_batch_is_refused_alone() -> None:
    (batch,) = batches([b'{"input": "' + b"x" * BATCH_BYTES_MAX + b'"}', b"{}"], DEFAULTS)
    assert [number for number, _ in batch.jobs] == [2]
    assert batch.malformed[0].line == 1


def test_the_times_of_a_job_are_read() -> None:
    line = b'{"run_at": "2026-01-31T12:00:00.5Z", "expires_at": "2026-02-01T00:00:00Z"}'
    request = parsed(line, DEFAULTS)
    assert request.run_at.ToJsonString() == "2026-01-31T12:00:00.500Z"
    assert request.expires_at.ToJsonString() == "2026-02-01T00:00:00Z"
