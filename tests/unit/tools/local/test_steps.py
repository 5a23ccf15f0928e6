"""The steps of a start, as a person sees them."""

import asyncio
import io
import re

import pytest

from tests.support.until import until
from tools.local import steps as steps_module
from tools.local.steps import Steps


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


async def test_a_step_is_a_line_with_its_seconds() -> None:
    shown = io.StringIO()
    with Steps(shown)("Redis", "for Redis to respond"):
        assert shown.getvalue() == ""
    assert re.fullmatch(r"Redis +0\.\d s\n", shown.getvalue())


async def test_a_terminal_shows_the_step_while_it_runs() -> None:
    shown = Terminal()
    with Steps(shown)("Redis", "for Redis to respond"):
        assert shown.getvalue().endswith("Redis        ...")
    assert re.search(r"\r\033\[KRedis +0\.\d s\n$", shown.getvalue())


async def test_a_step_that_takes_long_tells_what_it_waits_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps_module, "_STILL_SECONDS", 0.01)
    shown = io.StringIO()
    with Steps(shown)("Redis", "for Redis to respond"):
        await until(lambda: "waits for Redis to respond (0 s)\n" in shown.getvalue())


async def test_a_step_that_fails_or_is_interrupted_says_so() -> None:
    shown = io.StringIO()
    with pytest.raises(OSError, match="full"), Steps(shown)("Redis", ""):
        raise OSError("full")
    with pytest.raises(asyncio.CancelledError), Steps(shown)("jobs", ""):
        raise asyncio.CancelledError
    assert re.fullmatch(r"Redis +failed after 0\.\d s\njobs +stopped\n", shown.getvalue())
