"""Calls carry the token that the environment, a file or the caller names."""

import asyncio
import os
from pathlib import Path

import pytest
from grpc import aio

from innosystem.client import NO_TOKEN, TokenFile, connect, credentials, token_of
from innosystem.jobs.v1 import job_service_pb2
from innosystem.jobs.v1.job_service_pb2_grpc import JobServiceStub

from .conftest import RecordingServer


async def get(channel: aio.Channel, **how: object) -> None:
    await JobServiceStub(channel).GetJob(job_service_pb2.GetJobRequest(), **how)  # type: ignore[arg-type] # any argument


def sent(server: RecordingServer) -> object:
    return server.seen[-1].metadata.get("authorization")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("first\n")
    return path


@pytest.fixture
def _always_looked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "_LOOK_SECONDS", 0.0)


async def test_without_a_token_calls_carry_none(server: RecordingServer) -> None:
    async with connect(server.target) as channel:
        await get(channel)
    assert sent(server) is None


async def test_calls_carry_the_token_of_the_environment(
    server: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INNOSYSTEM_TOKEN", "abc")
    async with connect(server.target) as channel:
        await get(channel)
        assert sent(server) == "Bearer abc"
        watch: aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream("/test.Streams/Watch")
        assert [item async for item in watch(b"")]
    assert sent(server) == "Bearer abc"


async def test_a_channel_without_a_token_does_not_take_the_one_of_the_environment(
    server: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INNOSYSTEM_TOKEN", "abc")
    async with connect(server.target, token=NO_TOKEN) as channel:
        await get(channel)
    assert sent(server) is None


async def test_a_token_of_the_channel_goes_before_the_environment_and_one_of_the_call_before_both(
    server: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INNOSYSTEM_TOKEN", "abc")
    async with connect(server.target, token=lambda: "own") as channel:
        await get(channel)
        assert sent(server) == "Bearer own"
        await get(channel, metadata=[("authorization", "Bearer other")])
    assert sent(server) == "Bearer other"


@pytest.mark.usefixtures("_always_looked")
async def test_a_token_in_a_file_is_read_again_when_it_changes(
    server: RecordingServer, monkeypatch: pytest.MonkeyPatch, file: Path
) -> None:
    monkeypatch.setenv("INNOSYSTEM_TOKEN_FILE", str(file))
    async with connect(server.target) as channel:
        await get(channel)
        assert sent(server) == "Bearer first"
        await asyncio.to_thread(file.write_text, "second\n")
        await get(channel)
    assert sent(server) == "Bearer second"


@pytest.mark.usefixtures("_always_looked")
@pytest.mark.parametrize("replaced", ["", None], ids=["empty", "missing"])
def test_a_file_that_is_being_replaced_leaves_the_previous_token_in_use(file: Path, replaced: str | None) -> None:
    token = TokenFile(file)
    if replaced is None:
        file.unlink()
    else:
        file.write_text(replaced)
    assert token() == "first"


def test_a_file_is_read_at_most_once_a_second(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(credentials, "monotonic", lambda: now)
    token = TokenFile(file)
    file.write_text("second")
    now = 100.9
    assert token() == "first"
    now = 101.0
    assert token() == "second"


def test_a_token_and_a_file_at_once_are_refused(file: Path) -> None:
    with pytest.raises(ValueError, match="both set"):
        token_of({"INNOSYSTEM_TOKEN": "abc", "INNOSYSTEM_TOKEN_FILE": str(file)})


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "holds no token"), (b"\xff\xfe", "not text"), (None, os.strerror(2))]
)
def test_a_file_without_a_token_is_refused_at_the_start(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "t"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=reason):
        token_of({"INNOSYSTEM_TOKEN_FILE": str(path)})


@pytest.mark.usefixtures("_always_looked")
@pytest.mark.parametrize("broken", [b"", b"\xff", None], ids=["emptied", "no text", "gone"])
def test_a_file_that_can_not_be_read_again_is_told_once_and_so_is_its_return(
    file: Path, caplog: pytest.LogCaptureFixture, broken: bytes | None
) -> None:
    caplog.set_level("INFO")
    token = TokenFile(file)
    file.unlink()
    if broken is not None:
        file.write_bytes(broken)
    assert {token() for _ in range(3)} == {"first"}
    file.write_text("second")
    assert {token() for _ in range(3)} == {"second"}
    assert [(one.levelname, str(file) in one.getMessage()) for one in caplog.records] == [
        ("WARNING", True),
        ("INFO", True),
    ]
    assert "first" not in caplog.text
