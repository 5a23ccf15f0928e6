"""`innosystem handlers`: what a module has, whether it fits the platform, and job types for it."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from innosystem.runner.registry import default_registry
from tests.integration.tools.cli.conftest import Found, Run

ORDERS = """
from dataclasses import dataclass
from innosystem.runner import JobContext, handler

print("imported")

@dataclass
class Order:
    number: str

@handler("{id}")
async def pay(order: Order) -> list[str]: ...

@handler("{id}-any")
def anything(input: dict): ...
"""
WITHOUT_RESOURCE = """
from innosystem.runner import handler

class Pool: ...

@handler("needs-pool")
def needs(input: dict, job, pool: Pool): ...
"""
WITHOUT_SCHEMA = """
from collections.abc import Callable
from innosystem.runner import handler

@handler("no-schema")
def no_schema(input: Callable[[], int]): ...
"""
FREE = ("--standard-cost-cents", "0")

Module = Callable[[str], str]


@pytest.fixture
def module(innosystem: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Module]:
    """Write a module into the working directory and return its file; its handlers are forgotten afterwards."""
    for own in ("_handlers", "_resources"):
        monkeypatch.setattr(default_registry, own, {})
    monkeypatch.setattr(default_registry, "_modules", [])
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    before = set(sys.modules)

    def write(text: str) -> str:
        file = f"handlers_{uuid4().hex}.py"
        (tmp_path / file).write_text(text)
        return file

    yield write
    for name in set(sys.modules) - before:
        if name.startswith("handlers_"):
            del sys.modules[name]


@pytest.fixture
def id() -> str:
    """An ID that no other handler has."""
    return f"pay-{uuid4().hex[:8]}"


def test_handlers_are_listed_with_their_types_and_where_their_jobs_wait(
    module: Module, innosystem: Run, found: Found, id: str
) -> None:
    file = module(ORDERS.replace("{id}", id))

    before = innosystem("handlers", "list", file, "--offline", "-o", "csv")
    assert [line.split(",")[:4] for line in before.stdout.splitlines()[1:]] == [
        [id, "coroutine", "Order", "list[str]"],
        [f"{id}-any", "thread", "", ""],
    ]
    assert before.stderr == "imported\n"
    found("job-types", "create", "--name", f"{id}-fast", "--processing-logic-id", id, *FREE, "--queue", "fast")
    [pay, _] = found("handlers", "list", file)
    assert (pay["job_types"], pay["queues"]) == ([f"{id}-fast"], ["fast"])
    assert pay["input_schema"]["required"] == ["number"]


def test_without_a_platform_only_the_handlers_are_checked(
    module: Module, innosystem: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = module(ORDERS.replace("{id}", "pay"))
    monkeypatch.setenv("JOBS_ADDRESS", "127.0.0.1:1")

    checked = innosystem("handlers", "check", file)

    assert (checked.returncode, checked.stdout) == (0, "2 handlers, nothing to mend.\n")
    assert "Not compared with the job types of a platform: can't reach the jobs service" in checked.stderr


def test_each_fault_of_the_handlers_is_found_in_one_run(module: Module, innosystem: Run) -> None:
    files = [module(text) for text in (WITHOUT_RESOURCE, "1 / 0", WITHOUT_SCHEMA)]

    checked = innosystem("handlers", "check", *files, "missing.py", "--offline", "--json")

    assert checked.returncode == 1
    findings = json.loads(checked.stdout)["findings"]
    assert [one["handler"] for one in findings] == ["", "", "needs-pool", "no-schema"]
    messages = [one["message"] for one in findings]
    assert "ZeroDivisionError" in messages[0]
    assert messages[1].startswith("There is no Python file 'missing.py'")
    assert "takes Pool, which no resource makes" in messages[2]
    assert messages[3].startswith("its annotations have no JSON Schema: ")


def test_a_module_without_handlers_is_a_fault(module: Module, innosystem: Run) -> None:
    checked = innosystem("handlers", "check", module(""), "--offline")

    assert checked.returncode == 1
    assert "there is no handler in" in checked.stdout


@pytest.mark.parametrize("command", ["list", "check", "register"])
def test_a_command_without_a_module_is_a_wrong_argument(innosystem: Run, command: str) -> None:
    assert innosystem("handlers", command).returncode == 2


def test_registering_creates_what_is_missing_once_and_sends_schemas(
    module: Module, innosystem: Run, found: Found, id: str
) -> None:
    file = module(ORDERS.replace("{id}", id))
    found("job-types", "create", "--name", f"{id}-old", "--processing-logic-id", id, "--standard-cost", "0.20EUR")
    register = ("handlers", "register", file, "--price", "0.05EUR", "--queue", "orders")

    def changes(*arguments: str) -> dict[str, str]:
        return {one["job_type"]: one["change"] for one in found(*register, *arguments)}

    checked = innosystem("handlers", "check", file)
    assert checked.returncode == 1
    assert f"{id}: the job type {id}-old has no input schema, unlike the handler's annotation" in checked.stdout
    assert f"{id}-any: no job type names it" in checked.stdout
    assert changes("--dry-run") == {f"{id}-old": "would update schema", f"{id}-any": "would create"}
    assert changes() == {f"{id}-old": "schema updated", f"{id}-any": "created"}
    assert changes() == {f"{id}-old": "unchanged", f"{id}-any": "unchanged"}
    assert innosystem("handlers", "check", file).returncode == 0
    old = found("job-types", "show", f"{id}-old")
    assert (old["standard_cost_cents"], old["queue"]) == (20, "default")
    assert json.loads(old["input_schema_json"])["required"] == ["number"]
    new = found("job-types", "show", f"{id}-any")
    assert (new["standard_cost_cents"], new["currency"], new["queue"]) == (5, "EUR", "orders")


def test_a_job_type_of_another_schema_or_kind_is_a_fault(
    module: Module, innosystem: Run, found: Found, id: str
) -> None:
    file = module(ORDERS.replace("{id}", id))
    found("handlers", "register", file, "--price-cents", "7", "--currency", "CHF")
    Path("schema.json").write_text('{"type": "string"}')
    found("job-types", "update", id, "--processor-type", "SYNC", "--input-schema", "schema.json")

    checked = innosystem("handlers", "check", file)

    assert checked.returncode == 1
    assert f"{id}: the job type {id} has another input schema than the handler's annotation" in checked.stdout
    assert f"{id}: the job type {id} says SYNC, and the handler is async def" in checked.stdout


def test_job_types_of_other_runners_are_named_and_no_fault(
    module: Module, innosystem: Run, found: Found, id: str
) -> None:
    file = module(ORDERS.replace("{id}", id))
    found("handlers", "register", file, "--price", "0EUR")
    found("job-types", "create", "--name", f"{id}-other", "--processing-logic-id", "elsewhere", *FREE)

    checked = innosystem("handlers", "check", file)

    assert checked.returncode == 0
    assert f"(The job type {id}-other names elsewhere, which is not among these.)" in checked.stdout


def test_no_job_type_is_created_without_a_price(module: Module, innosystem: Run, id: str) -> None:
    refused = innosystem("handlers", "register", module(ORDERS.replace("{id}", id)))

    assert refused.returncode == 2
    assert f"{id} has no job type yet: --price 0.05EUR says what a job of it costs" in refused.stderr


def test_a_refused_job_type_leaves_the_others_registered(
    module: Module, innosystem: Run, found: Found, id: str
) -> None:
    file = module(ORDERS.replace("{id}", id))
    found("job-types", "create", "--name", id, "--processing-logic-id", "elsewhere", *FREE)

    done = innosystem("handlers", "register", file, "--price", "0EUR", "-o", "csv")

    assert done.returncode == 1
    assert [line.split(",")[:3] for line in done.stdout.splitlines()[1:]] == [
        [id, id, "refused"],
        [f"{id}-any", f"{id}-any", "created"],
    ]
    assert f"innosystem: {id}: JOB_TYPE_NAME_TAKEN" in done.stderr
