"""What the contract says in its comments, and which fields its messages have."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from google.protobuf.descriptor import Descriptor

from innosystem.options.v1.error_reason_pb2 import ErrorReason

PROTOS = Path(__file__).resolve().parents[2] / "protos"
REASONS = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.DESCRIPTOR.values_by_name} - {"UNSPECIFIED"}

_DECLARED = re.compile(r"((?:^ *//.*\n)+)^ *(service|rpc) (\w+)", flags=re.MULTILINE)
_FIELD = re.compile(r"((?:^ *//.*\n)+)^ *((?:repeated |optional |map<)?[\w.]+[^;={]* = \d+[^;]*);", flags=re.MULTILINE)


@cache
def comments() -> dict[str, str]:
    """The comment of each service and each method, by `/package.Service` and `/package.Service/Method`."""
    found: dict[str, str] = {}
    for file in sorted((PROTOS / "innosystem").rglob("*_service.proto")):
        text = file.read_text(encoding="utf-8")
        package, service = re.findall(r"^package ([\w.]+);", text, flags=re.MULTILINE)[0], ""
        for comment, kind, name in _DECLARED.findall(text):
            if kind == "service":
                service = f"/{package}.{name}"
            found[service if kind == "service" else f"{service}/{name}"] = " ".join(comment.replace("//", " ").split())
    return found


def named(comment: str) -> set[str]:
    """The words of a comment that are reasons, or look like one."""
    words = set(re.findall(r"\b[A-Z_]+\b", comment))
    return {word for word in words if word in REASONS or "_" in word.strip("_")}


def reasons_of(method: str) -> set[str]:
    """The reasons that the contract names for a method, for every one of its service, and for what a batch does."""
    service, _, _ = method.rpartition("/")
    told = [comments()[service], comments()[method]]
    told += [comments()[f"{service}/{one}"] for one in re.findall(r"does what (\w+) ", comments()[method])]
    return set().union(*map(named, told)) & REASONS


def has_path(message: Descriptor, path: str) -> bool:
    """Whether a message has a field, or a oneof, under a path such as `requests[3].job_id`."""
    at: Descriptor | None = message
    # What stands in brackets may be anything, and be cut.
    for name in re.sub(r'\[("[^"]*("\]|$)|\d+\])', "", path).split("."):
        if at is None or name not in at.fields_by_name:
            return at is not None and name in at.oneofs_by_name
        at = at.fields_by_name[name].message_type
    return True


@dataclass(frozen=True)
class FieldText:
    """A field as the contract's file has it.

    Attributes:
        message: The full name of its message.
        name: Its name.
        comment: What stands above it, in one line.
        declaration: What follows, with its rules.
    """

    message: str
    name: str
    comment: str
    declaration: str


@cache
def fields() -> list[FieldText]:
    """The fields of all messages that are declared at the top of a file."""
    found: list[FieldText] = []
    for file in sorted((PROTOS / "innosystem").rglob("*.proto")):
        text = file.read_text(encoding="utf-8")
        package = re.findall(r"^package ([\w.]+);", text, flags=re.MULTILINE)[0]
        for message, body in re.findall(r"^message (\w+) {\n(.*?)^}", text, flags=re.MULTILINE | re.DOTALL):
            for comment, declaration in _FIELD.findall(body):
                name = re.findall(r"(\w+) = \d+", declaration)[0]
                shown = " ".join(comment.replace("//", " ").split())
                found.append(FieldText(f"{package}.{message}", name, shown, declaration))
    return found
