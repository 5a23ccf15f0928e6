"""What handlers return and raise becomes JSON and errors that can be sent and stored."""

import json
import math
from typing import Any

import pytest

from innosystem.runner import JobError
from innosystem.runner.outcome import (
    OUTPUT_BYTES_MAX,
    Failed,
    Succeeded,
    failed,
    parse_input,
    succeeded,
)


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
