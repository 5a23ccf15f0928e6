"""A process that has ended has closed its socket, for which uvloop raises RuntimeError."""

import asyncio
import os
from types import SimpleNamespace
from typing import Any

import pytest

from innosystem.runner.handler_process import HandlerProcess
from innosystem.runner.handler_process_messages import LoadHandlers

KILLED: list[int] = []


class ClosedWriter:
    def write(self, _: bytes) -> None:
        raise RuntimeError("unable to perform operation on <UnixTransport closed=True>; the handler is closed")

    def write_eof(self) -> None:
        self.write(b"")

    def close(self) -> None:
        """Do nothing: the socket is closed already."""


@pytest.fixture
async def ended(monkeypatch: pytest.MonkeyPatch) -> HandlerProcess:
    async def wait() -> int:
        return 0

    KILLED.clear()
    monkeypatch.setattr(os, "killpg", lambda group, _: KILLED.append(group))
    process: Any = SimpleNamespace(pid=1, returncode=0, wait=wait)
    guard: Any = SimpleNamespace(forget=lambda _: None)
    reader: Any = SimpleNamespace(at_eof=lambda: True)
    writer: Any = ClosedWriter()
    made = HandlerProcess.__new__(HandlerProcess)
    made._process, made._reader, made._writer, made._guard = process, reader, writer, guard
    made._ending = asyncio.create_task(made._ended())
    return made


async def test_a_process_that_has_ended_by_itself_can_be_ended(ended: HandlerProcess) -> None:
    await ended.end()


async def test_a_process_that_has_ended_is_gone_for_who_asks_it(ended: HandlerProcess) -> None:
    with pytest.raises(EOFError):
        await ended.request(LoadHandlers([], [], "INFO", "json"))


async def test_the_group_of_a_process_that_has_ended_is_killed_once_as_its_id_may_be_anothers_later(
    ended: HandlerProcess,
) -> None:
    await ended._ending
    assert KILLED == [1]
    await ended.kill()
    await ended.end()
    assert KILLED == [1]
