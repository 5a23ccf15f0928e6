"""Return values and exceptions of handlers become JSON and errors that can be sent and stored."""

import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from innosystem.client import new_id
from innosystem.runner import JobError, Snooze
from innosystem.runner.completing import completion_of
from innosystem.runner.in_hand import JobInHand
from innosystem.runner.outcome import (
    OUTPUT_BYTES_MAX,
    Failed,
    Snoozed,
    Succeeded,
    failed,
    parse_input,
    raised,
    succeeded,
)
from innosystem.runner.queue import PoppedId


@pytest.mark.parametrize("number", [2**53 + 1, 2**64, -(10**300)])
def test_integers_keep_every_digit(number: int) -> None:
    assert parse_input(str(number)) == number
    assert succeeded(number) == Succeeded(str(number))


def test_an_empty_input_is_null() -> None:
    assert parse_input("") is None


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "nonsense"])
def test_an_input_that_is_not_json_is_an_error_that_no_retry_helps(text: str) -> None:
    with pytest.raises(JobError) as caught:
        parse_input(text)

    assert caught.value.type == "INVALID_INPUT_JSON"
    assert not caught.value.retryable


def test_text_is_written_as_it_is() -> None:
    assert succeeded({"name": "Zoë"}) == Succeeded('{"name":"Zoë"}')


def circle() -> list[Any]:
    inside: list[Any] = []
    inside.append(inside)
    return inside


@pytest.mark.parametrize("value", [object(), {1, 2}, math.nan, math.inf, b"bytes", "\ud800", circle(), {(1, 2): 3}])
def test_a_value_that_is_not_json_fails_the_run(value: object) -> None:
    outcome = succeeded(value)

    assert isinstance(outcome, Failed)
    assert outcome.type == "INVALID_OUTPUT_JSON"
    assert not outcome.retryable


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (
            {"when": datetime(2026, 1, 2, tzinfo=UTC)},
            "at .when: datetime is not JSON: return a text, such as its isofo",
        ),
        ({"rows": [1, {"ids": {1}}]}, "at .rows[1].ids: set is not JSON: return a list"),
        (object(), "object is not JSON: return a dict, a list"),
        ([0.0, float("inf")], "at [1]: the number inf is not JSON"),
        ({"a": {(1, 2): 3}}, "at .a: a key of type tuple is not JSON"),
    ],
)
def test_what_is_not_json_is_named_by_its_path_and_with_advice(value: object, said: str) -> None:
    outcome = succeeded(value)
    assert isinstance(outcome, Failed)
    assert f"cannot be sent: {said}" in outcome.message


def test_an_output_that_holds_itself_is_refused() -> None:
    value: list[object] = []
    value.append(value)
    outcome = succeeded(value)
    assert isinstance(outcome, Failed)
    assert "Circular reference" in outcome.message


def test_an_output_of_one_mebibyte_is_taken_and_no_byte_more() -> None:
    fits = "é" * ((OUTPUT_BYTES_MAX - 2) // 2)

    assert succeeded(fits) == Succeeded(json.dumps(fits, ensure_ascii=False))
    outcome = succeeded(fits + "a")
    assert isinstance(outcome, Failed)
    assert outcome.type == "OUTPUT_TOO_LARGE"


def test_an_exception_is_named_by_its_class_and_retryable() -> None:
    outcome = failed(KeyError("colour"))

    assert (outcome.type, outcome.message, outcome.retryable) == ("KeyError", "'colour'", True)


def test_a_job_error_says_what_its_author_wants() -> None:
    outcome = failed(JobError("no such picture", type="NOT_THERE", retryable=False))

    assert (outcome.type, outcome.message) == ("NOT_THERE", "no such picture")
    assert not outcome.retryable


def test_a_subclass_of_job_error_has_its_name_as_type() -> None:
    class PictureMissing(JobError):
        pass

    assert failed(PictureMissing("gone")).type == "PictureMissing"


def test_a_huge_message_is_cut() -> None:
    outcome = failed(ValueError("x" * 5_000_000))

    assert len(outcome.message) == 10_000
    assert outcome.message.endswith("…")
    assert len(outcome.trace) <= 10_000


def test_what_can_not_be_sent_or_stored_is_replaced_in_messages() -> None:
    assert failed(ValueError("a\ud800b\x00c")).message == "a?b\ufffdc"


def test_an_exception_that_can_not_be_printed_is_still_reported() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    outcome = failed(Mute())

    assert outcome.type == "Mute"
    assert "RuntimeError" in outcome.message


@pytest.mark.parametrize(
    ("given", "seconds"),
    [(timedelta(minutes=1), 60.0), (1.5, 1.5), (3, 3.0), (-1, 0.0), (timedelta(days=3), 86400.0), (math.inf, 86400.0)],
)
def test_delays_are_timedeltas_or_seconds_and_kept_within_bounds(given: timedelta | float, seconds: float) -> None:
    assert failed(JobError("later", retry_after=given)).retry_after_seconds == seconds
    assert raised(Snooze(given)) == Snoozed(seconds)


def test_a_delay_that_is_not_a_number_is_refused_where_it_is_made() -> None:
    with pytest.raises(ValueError, match="number of seconds"):
        Snooze(math.nan)
    with pytest.raises(ValueError, match="number of seconds"):
        JobError("later", retry_after=math.nan)


def test_an_error_without_a_delay_leaves_it_to_the_job_type() -> None:
    assert failed(JobError("again")).retry_after_seconds is None
    assert failed(ValueError("again")).retry_after_seconds is None


def flying() -> JobInHand:
    job = JobInHand(PoppedId(str(new_id()), "jobs:p1:pending"))
    job.lease_id = str(new_id())
    return job


def test_a_delay_is_reported_to_the_fraction_of_a_second() -> None:
    completion = completion_of(flying(), failed(JobError("again", retry_after=0.25)))
    assert completion.HasField("error")
    assert completion.retry_after.ToMilliseconds() == 250


def test_a_delay_of_nothing_is_a_delay() -> None:
    completion = completion_of(flying(), failed(JobError("again", retry_after=0)))
    assert completion.HasField("retry_after")


def test_an_error_that_no_attempt_helps_is_reported_without_a_delay() -> None:
    completion = completion_of(flying(), failed(JobError("never", retryable=False, retry_after=60)))
    assert not completion.error.retryable
    assert not completion.HasField("retry_after")


def test_a_snooze_is_reported_as_such_and_not_as_an_error() -> None:
    completion = completion_of(flying(), raised(Snooze(90)))
    assert completion.WhichOneof("outcome") == "snooze"
    assert completion.snooze.seconds == 90
