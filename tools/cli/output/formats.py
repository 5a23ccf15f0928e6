"""The option --output of every command that prints data, and the printing in each format."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final, Literal

from cyclopts import Parameter
from google.protobuf.message import Message

from tools.cli.output.cells import NOTHING, cell
from tools.cli.output.columns import Column, Columns
from tools.cli.output.documents import print_json, print_json_line, print_yaml
from tools.cli.output.text import pairs_of, print_columns, print_pairs
from tools.errors import UsageError

Format = Literal["table", "wide", "json", "jsonl", "csv", "name", "yaml"]


@Parameter(name="*")
@dataclass(frozen=True)
class Output:
    """The options by which the user chooses the format. A command takes them as `output: Output = TABLE`."""

    chosen: Annotated[
        Format,
        Parameter(
            name=("--output", "-o"), help="wide has more columns and absolute times; name has only IDs, a line each."
        ),
    ] = "table"
    as_json: Annotated[bool, Parameter(name="--json", negative="", show_default=False, help="Short for -o json.")] = (
        False
    )

    def __post_init__(self) -> None:
        # Before the command changes anything.
        if self.as_json and self.chosen not in ("table", "json"):
            raise UsageError(f"--json is short for -o json, and -o says {self.chosen}: give one of them")

    @property
    def format(self) -> Format:
        """The format."""
        return "json" if self.as_json else self.chosen

    @property
    def for_people(self) -> bool:
        """Whether the output is a table or text."""
        return self.format in ("table", "wide")

    def as_lines(self) -> "Output":
        """Return the format for documents that are printed one after another: JSON Lines instead of JSON.

        Raises:
            UsageError: The format has no such form.
        """
        if self.format == "yaml":
            raise UsageError("-o yaml is for one document, and changes are many: use -o jsonl")
        return replace(self, chosen="jsonl", as_json=False) if self.format == "json" else self


@Parameter(name="*")
@dataclass(frozen=True)
class DocumentOutput(Output):
    """The options of a command whose output is no list. It takes them as `output: DocumentOutput = TEXT`."""

    chosen: Annotated[
        Literal["table", "json", "jsonl", "yaml"],
        Parameter(name=("--output", "-o"), help="table is text for people."),
    ] = "table"


TEXT: Final = DocumentOutput()
"""The default of the options of a command whose output is no list."""

TABLE: Final = Output()
"""The default of the options."""


def print_list(messages: Sequence[Any], columns: Columns, output: Output, *, nothing: str, titles: bool = True) -> None:
    """Print messages of one kind.

    Args:
        messages: The messages. What `collect` has left out is said on standard error.
        columns: Their columns. JSON and YAML have all fields instead.
        output: The format.
        nothing: The text for people if the list is empty.
        titles: Whether a table, or `-o csv`, starts with the titles of its columns.
    """
    if output.for_people:
        if not messages:
            print(nothing)
            return
        wide = output.format == "wide"
        print_columns(messages, columns.columns if wide else columns.of_table(), fit=not wide, titles=titles)
    elif output.format == "jsonl":
        for message in messages:
            print_json_line(columns.document(message))
    elif output.format == "csv":
        _print_csv(messages, columns, titles=titles)
    elif output.format == "name":
        for message in messages:
            print(message[columns.name] if isinstance(message, Mapping) else getattr(message, columns.name))
    else:
        _print_document(list(map(columns.document, messages)), output)
    if note := getattr(messages, "note", ""):
        sys.stdout.flush()
        sys.stderr.write(f"{note}\n")


def print_one(message: Any, columns: Columns, output: Output, *, pairs: Mapping[str, str] | None = None) -> None:
    """Print one message: for people its fields, one per line; otherwise like `print_list`, as an object.

    Args:
        message: The message.
        columns: The columns of its kind.
        output: The format.
        pairs: The names and values for people; by default those of all fields.
    """
    if output.for_people:
        print_pairs(pairs_of(message) if pairs is None else pairs)
    elif output.format in ("csv", "name"):
        print_list([message], columns, output, nothing="")
    else:
        _print_document(columns.document(message), output)


def print_document(value: Any, output: Output) -> bool:
    """Print something that is no list and no single message, such as a report, if a document was asked for.

    Args:
        value: Any value with messages in it.
        output: The format.

    Returns:
        Whether it was printed; False if the user wants text.

    Raises:
        UsageError: The format is only for lists.
    """
    if output.for_people:
        return False
    if output.format in ("csv", "name"):
        raise UsageError(f"-o {output.format} is for lists, and this is none: use -o json, jsonl or yaml")
    _print_document(value, output)
    return True


def _print_document(value: Any, output: Output) -> None:
    {"json": print_json, "jsonl": print_json_line, "yaml": print_yaml}[output.format](value)
    sys.stdout.flush()


def _print_csv(messages: Sequence[Any], columns: Columns, *, titles: bool) -> None:
    import csv

    fields = columns.fields()
    writer = csv.writer(sys.stdout, lineterminator="\n")
    if titles:
        writer.writerow(fields)
    for message in messages:
        document = columns.document(message)
        writer.writerow(_plain(message, document, name, column) for name, column in fields.items())


def _plain(message: Any, document: Any, name: str, column: Column) -> str:
    """Return a value for CSV: as in JSON, with statuses as filters have them, and nothing for a value that is not set.

    Args:
        message: The message.
        document: What programs get for it.
        name: The field, or the names of nested ones with dots. If the message has none, it is what the column shows.
        column: The column.
    """
    first = name.partition(".")[0]
    known = message.DESCRIPTOR.fields_by_name if isinstance(message, Message) else {}
    if first in known and known[first].enum_type:
        return cell(message, name)
    if first not in known and first not in document:
        shown = column.show(message, None)
        return "" if shown == NOTHING else shown
    value = document
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if value is None or value in ({}, []):
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
