"""Every RPC for operators, clients and endpoints has a command, or a reason to have none: docs/commands.md has both."""

import ast
import re
from functools import cache

import pytest

from innosystem.client.contract import policy_of, services
from innosystem.options.v1 import options_pb2
from tests.support.documents import ROOT
from tools.cli.__main__ import command_line

PEOPLE = {options_pb2.CALLER_OPERATOR, options_pb2.CALLER_CLIENT, options_pb2.CALLER_CALLBACK}
# Functions of the SDK that make the calls.
HELPERS = {
    "create_customer": "CreateCustomer",
    "create_api_key": "CreateApiKey",
    "rotate_api_key": "RotateApiKey",
    "watch_job": "WatchJob",
}
STUBS = {"customers", "wallets", "jobs", "job_types"}


@cache
def rows() -> dict[str, str]:
    """The second cell of each row of the page that is about an RPC: its command, or `-`."""
    text = (ROOT / "docs/commands.md").read_text("utf-8")
    return dict(re.findall(r"^\| `([A-Z][A-Za-z]+)` \| ([^|]+) \|", text, re.MULTILINE))


def expected() -> set[str]:
    """The RPCs that operators, clients and endpoints may call."""
    return {
        method.name for service in services() for method in service.methods if PEOPLE & set(policy_of(method).callers)
    }


@cache
def called() -> set[str]:
    """The RPCs that the command calls: `client.jobs.GetJob`, or through a function of the SDK."""
    found = set()
    for path in (ROOT / "tools/cli").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute) and node.value.attr in STUBS:
                found.add(node.attr)
            elif isinstance(node, ast.Name) and node.id in HELPERS:
                found.add(HELPERS[node.id])
    return found


def test_the_page_has_every_rpc_for_people_and_no_other() -> None:
    assert set(rows()) == expected()


def test_an_rpc_with_a_command_is_called_and_one_without_is_not() -> None:
    assert {name for name, command in rows().items() if command != "-"} == called() & expected()


@pytest.mark.parametrize("name", sorted(expected()))
def test_the_command_of_an_rpc_exists(name: str) -> None:
    command = rows()[name]
    if command == "-":
        return
    [typed] = re.findall(r"^`innosystem ([a-z -]+)", command)
    app = command_line()
    for word in typed.split():
        if word.startswith("-"):
            break
        assert word in app, typed
        app = app[word]
