"""Inputs are converted to what a handler's annotations say, and outputs must be what they say."""

import datetime as dt
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from innosystem.runner import HandlerRegistrationError, JobError
from innosystem.runner.outcome import Succeeded
from innosystem.runner.registry import Handler, describe
from innosystem.runner.testing import run_handler


@dataclass
class Guest:
    name: str
    age: int = 0
    born: dt.date | None = None


class GuestModel(BaseModel):
    name: str = Field(alias="fullName")
    age: int = 0


class GuestStruct(msgspec.Struct):
    name: str
    age: int = 0


class GuestDict(TypedDict):
    name: str
    age: int


def takes(annotation: Any, returns: Any = Any) -> Callable[[Any], Any]:
    def handler(input: Any) -> Any:
        seen.append(input)
        return input

    seen: list[Any] = []
    handler.__annotations__ = {"input": annotation, "return": returns}
    return handler


def described(annotation: Any, returns: Any = Any) -> Handler:
    return describe(takes(annotation, returns), handler_id="typed")


ADA = {"name": "Ada", "age": 36}


@pytest.mark.parametrize(
    ("annotation", "given", "made"),
    [
        (Guest, ADA, Guest("Ada", 36)),
        (Guest, {"name": "Ada", "born": "1815-12-10"}, Guest("Ada", 0, dt.date(1815, 12, 10))),
        (GuestModel, {"fullName": "Ada"}, GuestModel(fullName="Ada")),
        (GuestStruct, ADA, GuestStruct("Ada", 36)),
        (GuestDict, ADA, ADA),
        (list[Guest], [ADA], [Guest("Ada", 36)]),
        (list[GuestStruct], [ADA], [GuestStruct("Ada", 36)]),
        (dict[str, int], {"a": 1}, {"a": 1}),
        (int | None, None, None),
        (int, 12345678901234567890123, 12345678901234567890123),
        (dict, None, None),
        (Any, [1], [1]),
        (dict[str, Any], "text", "text"),
    ],
    ids=str,
)
def test_an_input_is_converted_to_what_the_annotation_says(annotation: Any, given: Any, made: Any) -> None:
    assert described(annotation).input.decode(json.dumps(given)) == made


@pytest.mark.parametrize(
    ("annotation", "given", "reason"),
    [
        (Guest, {}, "name: Field required"),
        (list[Guest], [ADA, {"name": "Bob", "age": "old"}], r"\[1\]\.age: Input should be a valid integer"),
        (GuestModel, {"name": "Ada"}, "fullName: Field required"),
        (GuestStruct, {"name": 1}, r"Expected `str`, got `int` - at `\$\.name`"),
        (GuestDict, {"name": "Ada"}, "age: Field required"),
        (int, None, "Input should be a valid integer"),
        (list[int], ["a"] * 9, r"\[4\]: [^;]*; and 4 more$"),
    ],
    ids=str,
)
def test_an_input_that_does_not_fit_fails_for_good_with_path_and_reason(
    annotation: Any, given: Any, reason: str
) -> None:
    with pytest.raises(JobError, match=f"^The input does not fit: .*{reason}") as failure:
        run_handler(takes(annotation), given)

    assert (failure.value.type, failure.value.retryable) == ("INVALID_INPUT", False)


def test_a_reason_does_not_repeat_the_value_which_may_be_confidential() -> None:
    with pytest.raises(JobError) as failure:
        run_handler(takes(Guest), {"name": "Ada", "age": "4111 1111"})

    assert "4111" not in failure.value.message


def test_a_job_without_an_input_has_null() -> None:
    assert described(int | None).input.decode("") is None
    assert described(GuestStruct | None).input.decode("") is None


@pytest.mark.parametrize(
    ("annotation", "returned", "output"),
    [
        (Guest, Guest("Ada", 36, dt.date(1815, 12, 10)), '{"name":"Ada","age":36,"born":"1815-12-10"}'),
        (GuestModel, GuestModel(fullName="Ada"), '{"fullName":"Ada","age":0}'),
        (GuestStruct, GuestStruct("Ada"), '{"name":"Ada","age":0}'),
        (GuestDict, ADA, '{"name":"Ada","age":36}'),
        (list[Guest], [], "[]"),
        (dt.datetime, dt.datetime(2026, 1, 1, tzinfo=dt.UTC), '"2026-01-01T00:00:00Z"'),
        (None, None, "null"),
    ],
    ids=str,
)
def test_an_output_is_encoded_as_the_annotation_says(annotation: Any, returned: Any, output: str) -> None:
    assert described(Any, annotation).output.encode(returned) == Succeeded(output)


@pytest.mark.parametrize(
    ("annotation", "returned", "reason"),
    [
        (Guest, {"name": "Ada"}, "Guest"),
        (Guest, Guest(1), "name"),  # type: ignore[arg-type] # the mistake
        (GuestModel, None, "GuestModel"),
        (GuestStruct, GuestStruct(1), r"\$\.name"),  # type: ignore[arg-type] # the mistake
        (GuestDict, {"name": "Ada"}, "age: Field required"),
        (int, "1", "valid integer"),
        (None, 1, "None"),
    ],
    ids=str,
)
def test_an_output_that_does_not_fit_the_annotation_fails_the_job(annotation: Any, returned: Any, reason: str) -> None:
    with pytest.raises(JobError, match=reason) as failure:
        described(Any, annotation).output.encode(returned)

    assert (failure.value.type, failure.value.retryable) == ("INVALID_OUTPUT", False)


def test_the_json_schema_of_input_and_output_is_that_of_the_annotations() -> None:
    handler = described(Guest, GuestModel)

    assert handler.input_schema() == {
        "title": "Guest",
        "type": "object",
        "properties": {
            "name": {"title": "Name", "type": "string"},
            "age": {"title": "Age", "type": "integer", "default": 0},
            "born": {
                "title": "Born",
                "default": None,
                "anyOf": [{"type": "string", "format": "date"}, {"type": "null"}],
            },
        },
        "required": ["name"],
    }
    assert (handler.output_schema() or {})["required"] == ["fullName"]
    assert "GuestStruct" in (described(GuestStruct).input_schema() or {})["$defs"]
    assert described(dict).input_schema() is None
    assert described(dict).output_schema() is None


def test_an_annotation_that_no_json_fits_is_refused_at_registration() -> None:
    with pytest.raises(HandlerRegistrationError, match=r"The input of the handler 'typed' is annotated with .*object"):
        described(type(object()) | type(iter([])))


def test_annotations_that_are_strings_are_resolved() -> None:
    assert described("list[Guest]").input.decode("[]") == []
    assert described("Guest").input.decode('{"name": "Ada"}') == Guest("Ada")


def test_an_annotation_that_is_imported_for_type_checkers_only_is_refused_with_what_to_do() -> None:
    with pytest.raises(HandlerRegistrationError, match=r"name 'Missing' is not defined.*not under TYPE_CHECKING only"):
        described("Missing")


def test_a_handler_without_types_has_no_conversion_of_its_own() -> None:
    untyped = describe(lambda input: input, handler_id="untyped")

    assert untyped.input is described(dict[str, Any]).input
    assert untyped.input.decode.__name__ == "parse_input"
    assert untyped.output.encode.__name__ == "succeeded"
