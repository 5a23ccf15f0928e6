"""A process that has ended has closed its socket, which uvloop tells by a RuntimeError."""

import os
from types import SimpleNamespace
from typing import Any

import pytest

from innosystem.runner.processes import Process


class ClosedWriter:
    def write(self, _: bytes) -> None:
        raise RuntimeError("unable to perform operation on <UnixTransport closed=True>; the handler is closed")

    def write_eof(self) -> None:
        self.write(b"")

    def close(self) -> None:
        """It is closed."""


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> Process:
    async def wait() -> int:
        return 0

    monkeypatch.setattr(os, "killpg", lambda _, __: None)
    process: Any = SimpleNamespace(pid=1, returncode=0, wait=wait)
    guard: Any = SimpleNamespace(forget=lambda _: None)
    reader: Any = SimpleNamespace(at_eof=lambda: True)
    writer: Any = ClosedWriter()
    made = Process.__new__(Process)
    made._process, made._reader, made._writer, made._guard = process, reader, writer, guard
    return made


async def test_a_process_that_has_ended_by_itself_can_be_ended(ended: Process) -> None:
    await ended.end()


async def test_a_process_that_has_ended_is_gone_for_who_asks_it(ended: Process) -> None:
    with pytest.raises(EOFError):
        await ended.ask("anything")
