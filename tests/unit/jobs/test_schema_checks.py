"""Checks in a process of their own: bounded in time and memory, and nobody else waits for them."""

import asyncio
import json
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer

import pytest

from services.jobs.clients import schema_checks
from services.jobs.clients.schema_checks import IsolatedSchemaChecks
from services.jobs.rules.schemas.schema import InvalidSchema
from services.kit.errors import Overloaded

LIMIT_SECONDS = 30
HEAVY = json.dumps({"items": {"allOf": [{"minimum": -one} for one in range(100)]}})
MANY = "[" + ",".join(["1"] * 300_000) + "]"
# What an older release has stored: this one would not take it.
DOUBLING = json.dumps(
    {
        "$defs": {
            **{f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}, {"$ref": f"#/$defs/d{n + 1}"}]} for n in range(40)},
            "d40": {"type": "string"},
        },
        "$ref": "#/$defs/d0",
    }
)


@pytest.fixture(autouse=True)
def _no_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is, a slow worker does not count as one that hangs."""
    monkeypatch.setattr(schema_checks, "_PATIENCE", 1000)
    monkeypatch.setattr(schema_checks, "_COMPILE_SECONDS_MAX", 10)


@contextmanager
def standing_still(checks: IsolatedSchemaChecks) -> Iterator[None]:
    """Stop the process that checks for as long as the block takes, which must not wait for it."""
    process = checks._worker._process
    assert process is not None
    waited_for = Timer(LIMIT_SECONDS, os.kill, (process.pid, signal.SIGCONT))
    waited_for.start()
    os.kill(process.pid, signal.SIGSTOP)
    yield
    assert waited_for.is_alive(), "the block has waited for the process"
    waited_for.cancel()
    os.kill(process.pid, signal.SIGCONT)


async def test_a_small_input_is_checked_at_once_when_the_schema_is_known() -> None:
    checks, schema = IsolatedSchemaChecks(), '{"type": "integer"}'
    assert checks.check_small(schema, "1") is None
    assert (await checks.check(schema, "1")).problem is None
    verdict = checks.check_small(schema, '"one"')
    assert verdict is not None
    assert verdict.problem == 'at the whole input: "one" is not of type "integer"'


async def test_a_large_input_is_checked_while_the_event_loop_goes_on() -> None:
    checks = IsolatedSchemaChecks(cpu_seconds_max=30)
    await checks.check(HEAVY, "[1]")

    assert checks.check_small(HEAVY, MANY) is None
    with standing_still(checks):
        asked = asyncio.create_task(checks.check(HEAVY, MANY))
        for _ in range(100):
            await asyncio.sleep(0.001)  # other tasks run while the check is still
        assert not asked.done()
    assert (await asked).problem is None


async def test_a_check_that_takes_too_long_is_given_up_and_the_next_one_is_done() -> None:
    checks = IsolatedSchemaChecks(cpu_seconds_max=0.2)
    verdict = await checks.check(DOUBLING, '"x"')
    assert "more time or memory" in str(verdict.problem)
    assert (await checks.check('{"type": "integer"}', '"one"')).problem is not None
    assert (await checks.check('{"type": "integer"}', "1")).problem is None


async def test_a_schema_that_takes_too_long_to_compile_or_is_too_heavy_is_refused() -> None:
    with pytest.raises(InvalidSchema, match="references multiply"):
        await IsolatedSchemaChecks().check_schema(DOUBLING)
    patterns = {f"p{one}": {"pattern": rf"^(\w{{1,{400 + one}}}){{1,20}}$"} for one in range(100)}
    with pytest.raises(InvalidSchema, match="time or memory"):
        await IsolatedSchemaChecks(cpu_seconds_max=0.1).check_schema(json.dumps({"properties": patterns}))
    with pytest.raises(InvalidSchema, match="JSON object"):
        await IsolatedSchemaChecks().check_schema('"text"')
    await IsolatedSchemaChecks().check_schema("true")


async def test_a_check_whose_process_was_ended_by_somebody_else_is_done_by_another() -> None:
    checks = IsolatedSchemaChecks(cpu_seconds_max=30)
    await checks.check(HEAVY, MANY)
    process = checks._worker._process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert (await checks.check(HEAVY, MANY)).problem is None


async def test_a_caller_that_leaves_does_not_mix_up_the_answers_of_others() -> None:
    checks = IsolatedSchemaChecks(cpu_seconds_max=30)
    await checks.check(HEAVY, "[1]")
    leaving = asyncio.create_task(checks.check(HEAVY, MANY))
    await asyncio.sleep(0)
    staying = asyncio.create_task(checks.check(HEAVY, MANY.replace("1", '"a"', 1).replace("1]", "-5000]")))
    await asyncio.sleep(0)
    leaving.cancel()
    assert str((await staying).problem).startswith("at 299999: ")
    assert (await checks.check(HEAVY, MANY)).problem is None


async def test_a_process_that_stands_still_is_replaced_also_when_it_takes_no_question(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checks = IsolatedSchemaChecks(cpu_seconds_max=10)
    await checks.check(HEAVY, "[1]")
    process = checks._worker._process
    assert process is not None
    end = checks._worker._end

    def end_of_patience() -> None:
        # Of the next one nobody knows how long it takes to start.
        monkeypatch.setattr(schema_checks, "_PATIENCE", 1000)
        end()

    monkeypatch.setattr(checks._worker, "_end", end_of_patience)
    monkeypatch.setattr(schema_checks, "_PATIENCE", 0.05)
    os.kill(process.pid, signal.SIGSTOP)
    try:
        # More than fits into the pipe.
        assert (await checks.check(HEAVY, MANY)).problem is None
        assert checks._worker._process is not process
    finally:
        process.kill()


async def test_a_process_that_stands_still_says_nothing_about_the_input(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = IsolatedSchemaChecks()
    await checks.check(HEAVY, "[1]")
    monkeypatch.setattr(schema_checks, "_PATIENCE", 0)
    with pytest.raises(Overloaded):
        await checks.check(HEAVY, MANY)


async def test_inputs_are_checked_also_in_a_process_that_has_more_than_a_thousand_connections() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        assert (await IsolatedSchemaChecks(cpu_seconds_max=30).check(HEAVY, MANY)).problem is None
    finally:
        for one in opened:
            os.close(one)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
