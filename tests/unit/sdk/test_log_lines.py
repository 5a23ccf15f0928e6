"""Writing a line never fails and never blocks, whatever happens to the stream."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from innosystem.shared.log_lines import WAITING_BYTES_MAX, LogLines
from innosystem.shared.log_writers import plain
from tests.support.until import until_sync

LIMIT_SECONDS = 30


class Pipe:
    """Lines into a pipe, and the reports of lost ones."""

    def __init__(self) -> None:
        self.reader, writer = os.pipe()
        self.lost: list[int] = []
        self.recovered: list[int] = []
        with os.fdopen(writer, "w") as stream:
            self.lines = LogLines(stream, lost=self.lost.append, recovered=self.recovered.append)
        self.read = bytearray()

    def read_all(self) -> None:
        """Start to read, in a thread."""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while data := os.read(self.reader, 65536):
            self.read += data


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.lines.flush()


def test_lines_come_in_order_and_are_all_there_after_a_flush(pipe: Pipe) -> None:
    pipe.read_all()
    expected = b"".join(b"line %d\n" % number for number in range(5000))
    for line in expected.splitlines(keepends=True):
        pipe.lines.write(line)
    pipe.lines.flush(LIMIT_SECONDS)

    until_sync(lambda: bytes(pipe.read) == expected)
    assert (pipe.lost, pipe.recovered) == ([], [])


def test_a_reader_that_stops_reading_blocks_no_writer_and_learns_what_it_missed(pipe: Pipe) -> None:
    line = b"x" * 1023 + b"\n"
    written = 2 * WAITING_BYTES_MAX // len(line)
    for _ in range(written):
        pipe.lines.write(line)
    assert sum(pipe.lost) > 0

    pipe.read_all()
    until_sync(lambda: bool(pipe.recovered))
    lost = sum(pipe.lost)
    until_sync(lambda: len(pipe.read) == (written - lost) * len(line))
    assert sum(pipe.recovered) == lost


def test_lines_for_a_reader_that_is_gone_are_counted_and_raise_nothing(pipe: Pipe) -> None:
    os.close(pipe.reader)
    for _ in range(3):
        pipe.lines.write(b"line\n")
    pipe.lines.flush(LIMIT_SECONDS)

    assert sum(pipe.lost) == 3


def test_a_full_disk_costs_lines_until_there_is_room_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, told = tmp_path / "log", [0, 0]
    with file.open("w") as stream:
        lines = LogLines(stream, recovered=lambda count: told.__setitem__(1, count))
    write = os.write
    room = 7

    def write_within_room(descriptor: int, data: bytes) -> int:
        nonlocal room
        if not room:
            raise OSError(28, "No space left on device")
        written = write(descriptor, data[:room])
        room -= written
        return written

    monkeypatch.setattr(os, "write", write_within_room)
    for line in (b"one\n", b"torn apart\n", b"lost\n"):
        lines.write(line)
        lines.flush(LIMIT_SECONDS)
    room = 1000
    lines.write(b"two\n")
    lines.flush(LIMIT_SECONDS)

    assert file.read_bytes() == b"one\ntor\ntwo\n"
    assert told[1] == 2


def test_a_process_without_the_stream_loses_its_lines_and_nothing_else() -> None:
    lost: list[int] = []
    lines = LogLines(None, lost=lost.append)
    lines.write(b"line\n")
    lines.flush(LIMIT_SECONDS)

    assert lost == [1]


def test_the_child_of_a_fork_writes_by_itself(pipe: Pipe) -> None:
    pid = os.fork()
    if not pid:
        pipe.lines.write(b"of the child\n")
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    pipe.read_all()

    until_sync(lambda: bytes(pipe.read) == b"of the child\n")


def test_anything_can_be_described() -> None:
    class Rude:
        def __repr__(self) -> str:
            raise RuntimeError

    assert [plain(each) for each in ("ab", "\udcff", 7)] == ["ab", "'\\udcff'", "7"]
    assert plain(Rude()) == "<Rude that cannot be shown: RuntimeError>"
    assert len(plain("x" * 100_000)) == 10_000
