"""The output of commands: tables for people, and JSON, YAML, CSV and names for programs.

A command takes the options `output: Output = TABLE`, declares the columns of its messages once (`columns`), and prints
them with `print_list`, `print_one` or `print_document`.
"""

from tools.cli.output.cells import NOTHING, cell, printable, shown_time, since
from tools.cli.output.columns import Column, Columns, age, field
from tools.cli.output.documents import print_json, to_json
from tools.cli.output.formats import TABLE, TEXT, DocumentOutput, Output, print_document, print_list, print_one
from tools.cli.output.terminal import console, logs_on_stderr, print_progress
from tools.cli.output.text import pairs_of, print_pairs, print_table

__all__ = [
    "NOTHING",
    "TABLE",
    "TEXT",
    "Column",
    "Columns",
    "DocumentOutput",
    "Output",
    "age",
    "cell",
    "console",
    "field",
    "logs_on_stderr",
    "pairs_of",
    "print_document",
    "print_json",
    "print_list",
    "print_one",
    "print_pairs",
    "print_progress",
    "print_table",
    "printable",
    "shown_time",
    "since",
    "to_json",
]
