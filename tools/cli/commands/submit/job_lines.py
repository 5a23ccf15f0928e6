"""Jobs in JSON Lines: each line is an object, the job to submit.

The text of `input` goes to the service unchanged: its numbers are not parsed, so none loses precision.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from google.protobuf.timestamp_pb2 import Timestamp

from innosystem.jobs.v1.job_service_pb2 import CreateJobRequest
from innosystem.jobs.v1.job_type_pb2 import Priority
from tools.cli.commands.submit.line_ids import LineIds

MALFORMED: Final = "MALFORMED_LINE"
"""The reason of lines that are refused before submission, in addition to those of the contract."""

BATCH_JOBS_MAX: Final = 200
BATCH_BYTES_MAX: Final = 6 * 1024 * 1024

_FIELDS: Final = (
    "job_type",
    "customer_id",
    "priority",
    "input",
    "job_id",
    "labels",
    "max_cost_cents",
    "run_at",
    "expires_at",
)
_PRIORITIES: Final = ("HIGH", "MEDIUM", "LOW")
_WHITESPACE: Final = re.compile(r"[ \t\r\n]*")


class MalformedLine(ValueError):
    """A line is no valid job; the message says why."""


@dataclass(frozen=True)
class Defaults:
    """The values of fields that lines leave out."""

    customer_id: str = ""
    job_type: str = ""
    priority: str = ""


@dataclass(frozen=True)
class RefusedLine:
    """A line that was refused.

    Attributes:
        line: Its number, from 1.
        reason: An `ErrorReason` of the contract without its prefix, or `MALFORMED_LINE`.
        message: The error.
        job_id: The ID that its job would have had; empty if the line can't be read.
    """

    line: int
    reason: str
    message: str
    job_id: str = ""


@dataclass
class Batch:
    """The jobs of one call, and the malformed lines between them."""

    jobs: list[tuple[int, CreateJobRequest]] = field(default_factory=list)
    malformed: list[RefusedLine] = field(default_factory=list)
    bytes: int = 0


def batches(lines: Iterable[bytes], defaults: Defaults, key: str = "") -> Iterator[Batch]:
    """Group jobs into batches within the limits of the service.

    Args:
        lines: The lines of a file in UTF-8. Empty lines are skipped.
        defaults: The values of fields that lines leave out.
        key: The idempotency key; the same lines under another key are different jobs.
    """
    batch, ids = Batch(), LineIds(key)
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            request = parse_line(line, defaults, ids)
            size = request.ByteSize()
            if size > BATCH_BYTES_MAX:
                raise MalformedLine(f"the job has {size} bytes, more than the {BATCH_BYTES_MAX} of a batch")
        except MalformedLine as error:
            batch.malformed.append(RefusedLine(number, MALFORMED, str(error)))
            continue
        if len(batch.jobs) == BATCH_JOBS_MAX or (batch.jobs and batch.bytes + size > BATCH_BYTES_MAX):
            yield batch
            batch = Batch()
        batch.jobs.append((number, request))
        batch.bytes += size
    if batch.jobs or batch.malformed:
        yield batch


def parse_line(line: bytes, defaults: Defaults, ids: LineIds) -> CreateJobRequest:
    """Parse one job, and give it an ID if the line has none.

    Args:
        line: The line.
        defaults: The values of fields that the line leaves out.
        ids: Derives the ID from what the line says.

    Raises:
        MalformedLine: The line is not a JSON object, has unknown fields, or lacks required ones.
    """
    try:
        text = line.decode("utf-8-sig")
        members = raw_members(text)
        if unknown := members.keys() - set(_FIELDS):
            raise MalformedLine(f"unknown field {min(unknown)!r}: a job has {', '.join(_FIELDS)}")
        input_json = members.pop("input", "")
        # A null field counts as missing.
        given = {name: value for name, text in members.items() if (value := json.loads(text)) is not None}
        request = CreateJobRequest(
            job_id=_text(given, "job_id", ""),
            customer_id=_required(given, "customer_id", defaults.customer_id),
            job_type=_required(given, "job_type", defaults.job_type),
            priority=_priority(_text(given, "priority", defaults.priority)),
            input_json=input_json,
            labels=_labels(given),
        )
        if (max_cost_cents := given.get("max_cost_cents")) is not None:
            request.max_cost_cents = _whole_number("max_cost_cents", max_cost_cents)
        for name in ("run_at", "expires_at"):
            if given.get(name) is not None:
                _set_time(getattr(request, name), name, given[name])
        request.job_id = request.job_id or ids.of(request)
    except UnicodeDecodeError as error:
        raise MalformedLine(f"not UTF-8: {error.reason} at byte {error.start + 1}") from None
    except RecursionError:
        raise MalformedLine("the values are nested too deep") from None
    except MalformedLine:
        raise
    except ValueError as error:
        # From the JSON parser, or from protobuf for a number or a text out of range.
        raise MalformedLine(str(error)) from None
    return request


def raw_members(text: str) -> dict[str, str]:
    """Split a JSON object into its members without changing the text of any value.

    Raises:
        ValueError: The text is not a JSON object, or a name occurs twice.
    """
    members: dict[str, str] = {}
    position = _after(text, 0, "{")
    if text[position : position + 1] == "}":
        position += 1
    else:
        while True:
            name, position = _name(text, position)
            start = _after(text, position, ":")
            _, end = _DECODER.raw_decode(text, start)
            if name in members:
                raise MalformedLine(f"{name!r} occurs twice")
            members[name] = text[start:end]
            position = _skip(text, end)
            if text[position : position + 1] == "}":
                position += 1
                break
            position = _after(text, position, ",")
    if (end := _skip(text, position)) != len(text):
        raise MalformedLine(f"unexpected text after the object, at character {end + 1}")
    return members


def _name(text: str, position: int) -> tuple[str, int]:
    if text[position : position + 1] != '"':
        raise MalformedLine(f"a name in double quotes is expected at character {position + 1}")
    name, end = _DECODER.raw_decode(text, position)
    return str(name), end


def _after(text: str, position: int, mark: str) -> int:
    """Return the position after a mark and the whitespace behind it."""
    position = _skip(text, position)
    if text[position : position + 1] != mark:
        where = f"at character {position + 1}"
        raise MalformedLine("a JSON object is expected" if mark == "{" else f"{mark!r} is expected {where}")
    return _skip(text, position + 1)


def _skip(text: str, position: int) -> int:
    found = _WHITESPACE.match(text, position)
    return found.end() if found else position


def _refuse(constant: str) -> NoReturn:
    raise MalformedLine(f"{constant} is not JSON")


# Numbers stay texts, so that they are of any length and never rounded.
_DECODER: Final = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=_refuse)


def _text(given: dict[str, Any], name: str, default: str) -> str:
    value = given.get(name, default)
    if not isinstance(value, str):
        raise MalformedLine(f"{name!r} must be a text")
    return value


def _required(given: dict[str, Any], name: str, default: str) -> str:
    if not (value := _text(given, name, default)):
        raise MalformedLine(f"{name!r} is missing: give it here or as --{name.replace('_', '-')}")
    return value


def _priority(name: str) -> "Priority.ValueType":
    if name and name.upper() not in _PRIORITIES:
        raise MalformedLine(f"'priority' must be one of {', '.join(_PRIORITIES)}")
    return Priority.Value(f"PRIORITY_{name.upper() or 'UNSPECIFIED'}")


def _whole_number(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise MalformedLine(f"{name!r} must be a whole number")
    return value


def _set_time(field: Timestamp, name: str, value: object) -> None:
    try:
        field.FromJsonString(value if isinstance(value, str) else "")
    except ValueError:
        raise MalformedLine(f'{name!r} must be a time such as "2026-01-31T12:00:00Z"') from None


def _labels(given: dict[str, Any]) -> dict[str, str]:
    labels = given.get("labels", {})
    if not isinstance(labels, dict) or not all(isinstance(value, str) for value in labels.values()):
        raise MalformedLine("'labels' must be an object of texts")
    return labels
