"""Each method that may be sent again without a response is sent again: the state is the same as after one call."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import psycopg
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from psycopg import sql

from innosystem.client import connect
from innosystem.client.contract import policy_of, services
from innosystem.jobs.v1 import job_pb2
from innosystem.jobs.v1 import job_service_pb2 as pb
from innosystem.options.v1 import options_pb2
from tests.integration.jobs.conftest import Neighbours
from tests.support.rpc.jobs_stack import JobsStack
from tests.support.rpc.loop_thread import LoopThread
from tests.support.rpc.losing import losing
from tests.support.rpc.repeats import CASES, MOVES, TOLD_OTHERWISE

REPEATED: Mapping[str, MethodDescriptor] = {
    f"{service.name}.{method.name}": method
    for service in services()
    for method in service.methods
    if policy_of(method).repeat != options_pb2.REPEAT_UNSAFE
}


class Databases:
    """All that the three services have stored."""

    def __init__(self, urls: list[str]) -> None:
        self._urls = urls

    def rows(self, without: frozenset[str]) -> dict[str, list[Any]]:
        """Every row of every table, without some columns. Of runners it is stored when they were last seen."""
        found = {}
        for url in self._urls:
            with psycopg.connect(url) as connection:
                tables = connection.execute(
                    "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'runners'"
                ).fetchall()
                for [name] in tables:
                    read = sql.SQL("SELECT to_jsonb(t) - %s::text[] FROM {} t ORDER BY 1").format(sql.Identifier(name))
                    rows = connection.execute(read, [sorted(without)])
                    found[f"{connection.info.dbname} {name}"] = [row for [row] in rows]
        return found

    def waiting(self) -> list[str]:
        """Return the jobs that runners would be given."""
        with psycopg.connect(self._urls[-1]) as connection:
            rows = connection.execute("SELECT id FROM jobs WHERE status = 'PENDING'")
            return [str(job_id) for [job_id] in rows]


@pytest.fixture(scope="module")
def databases(neighbours: Neighbours, database_url: str) -> Databases:
    customers, wallets = neighbours
    return Databases([customers.url, wallets.url, database_url])


@dataclass(frozen=True)
class Platform:
    """Where calls go: to a proxy's address, and from there to the servers of the services."""

    address: str
    upstreams: Mapping[str, grpc.Channel]
    loop: LoopThread


@pytest.fixture
def platform(
    neighbours: Neighbours, grpc_channel: grpc.Channel, loop_thread: LoopThread, tmp_path: Path
) -> Iterator[Platform]:
    customers, wallets = neighbours
    with grpc.insecure_channel(customers.address) as to_customers, grpc.insecure_channel(wallets.address) as to_wallets:
        channels = {"customers": to_customers, "wallets": to_wallets, "jobs": grpc_channel}
        upstreams = {service.full_name: channels[service.full_name.split(".")[1]] for service in services()}
        yield Platform(f"unix:{tmp_path / 's'}", upstreams, loop_thread)


def play_the_platform(world: JobsStack, databases: Databases) -> None:
    """Play the rest of the platform: runners take all waiting jobs, which fail, and the settler settles."""
    while waiting := databases.waiting():
        lease_id = str(uuid4())
        claimed = world.claim(*waiting, lease_id=lease_id).jobs
        error = job_pb2.JobError(type="E", message="no")
        world.complete(*(pb.JobCompletion(job_id=one.job.id, lease_id=lease_id, error=error) for one in claimed))
        world.settle()
    world.settle()


async def send(address: str, method: MethodDescriptor, request: Message) -> list[Message]:
    """Call a method as clients do; repeat calls that the client does not repeat by itself, with the same message."""
    async with connect(address) as channel:
        make = channel.unary_stream if method.server_streaming else channel.unary_unary
        call: Any = make(
            f"/{method.containing_service.full_name}/{method.name}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        for _ in range(2):
            response = call(request, timeout=20)
            try:
                return [one async for one in response] if method.server_streaming else [await response]
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
    raise AssertionError("the reply was lost twice")


def test_every_method_that_may_be_repeated_has_a_case() -> None:
    assert CASES.keys() == REPEATED.keys()


@pytest.mark.parametrize("name", CASES)
def test_a_call_whose_reply_was_lost_has_no_effect_when_it_is_repeated(
    name: str, world: JobsStack, databases: Databases, platform: Platform
) -> None:
    method = REPEATED[name]
    request = CASES[name](world)
    after_one: dict[str, list[Any]] = {}
    without = MOVES.get(name, frozenset())

    def meanwhile() -> None:
        play_the_platform(world, databases)
        after_one.update(databases.rows(without))

    with losing(platform.upstreams, meanwhile, platform.address) as proxy:
        responses = platform.loop.run(send(platform.address, method, request))

    play_the_platform(world, databases)
    assert not proxy.refusals
    assert responses
    # The refused items of a batch have their errors in the response.
    refused = any(b"google.rpc.ErrorInfo" in response.SerializeToString() for response in responses)
    assert refused == (name in TOLD_OTHERWISE)
    first, second = proxy.requests
    assert first == second
    assert databases.rows(without) == after_one
