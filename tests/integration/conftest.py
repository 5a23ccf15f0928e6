"""pytest-grpc against the real aio server: its fixtures stay, the server below them is another one.

A module says what it serves by the fixtures `grpc_add_to_server`, `grpc_servicer` and `grpc_stub_cls`, and gets
blocking stubs that talk to the server a service's process runs, with all its layers, over a unix socket.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack

import grpc
import pytest

from tests.support.rpc.loop_thread import AioServer, LoopThread
from tests.support.rpc.promises import promised
from tests.support.rpc.refusals import Refused, Stored


@pytest.fixture(scope="module")
def loop_thread() -> Iterator[LoopThread]:
    """Where the servers of a module run."""
    thread = LoopThread()
    yield thread
    thread.close()


@pytest.fixture(scope="module")
def grpc_addr(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where the server listens, in place of pytest-grpc's TCP port."""
    return f"unix:{tmp_path_factory.mktemp('grpc') / 's'}"


@pytest.fixture(scope="module")
def _grpc_server(loop_thread: LoopThread) -> AioServer:
    """In place of pytest-grpc's blocking server."""
    return AioServer(loop_thread)


@pytest.fixture(scope="module")
def grpc_channel(grpc_create_channel: Callable[..., grpc.Channel]) -> Iterator[grpc.Channel]:
    """In place of pytest-grpc's. It has gRPC's own limits, as the channels of many clients have: all responses fit."""
    with grpc_create_channel() as channel:
        yield promised(channel)


@pytest.fixture(scope="module")
def service_name(request: pytest.FixtureRequest) -> str:
    """The service whose database the module works on: the module's `SERVICE`."""
    name: str = request.module.SERVICE
    return name


@pytest.fixture(scope="module")
def database_url(service_name: str, fresh_database: Callable[[str], str]) -> str:
    """A database that the module has for itself."""
    return fresh_database(service_name)


@pytest.fixture
def stored(database_url: str) -> Stored:
    """What is in that database."""
    return Stored(database_url)


@pytest.fixture
def refused(stored: Stored) -> Refused:
    """Call what has to be refused."""
    return Refused(stored)


@pytest.fixture
async def opened() -> AsyncIterator[AsyncExitStack]:
    """End what a test has started."""
    async with AsyncExitStack() as stack:
        yield stack
