"""A runner between a real Redis and fake services behind real gRPC servers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from grpc import aio
from pydantic import SecretStr
from redis.asyncio import Redis

from innosystem.client import new_id
from innosystem.jobs.v1 import job_service_pb2_grpc
from innosystem.runner import Registry
from innosystem.runner.runner import Runner
from innosystem.runner.settings import RunnerSettings
from innosystem.wallets.v1 import wallet_service_pb2_grpc
from tests.integration.runner.fakes import FakeJobs, FakeWallets, StoredJob
from tests.support.until import until


@dataclass
class RunnerStack:
    """Everything that a runner interacts with."""

    redis: Redis
    redis_url: str
    registry: Registry = field(default_factory=Registry)
    jobs: FakeJobs = field(default_factory=FakeJobs)
    wallets: FakeWallets = field(default_factory=FakeWallets)
    key_prefix: str = field(default_factory=lambda: f"{new_id()}:")
    addresses: dict[str, str] = field(default_factory=dict)

    def key(self, priority: int = 1) -> str:
        return f"{self.key_prefix}jobs:p{priority}:pending"

    async def submit(self, handler_id: str, input: Any = None, *, priority: int = 1, **more: Any) -> StoredJob:
        stored = self.jobs.add(handler_id, input, **more)
        await self.redis.lpush(self.key(priority), stored.job.id)
        return stored

    async def push_again(self, job_id: str) -> None:
        """Push the ID of a returned job, to be taken next."""
        await self.redis.rpush(self.key(), job_id)

    async def waiting(self) -> int:
        return sum([await self.redis.llen(self.key(priority)) for priority in range(3)])

    async def has_waiting(self, count: int) -> None:
        async def holds() -> bool:
            return await self.waiting() == count

        await until(holds)

    async def drop_connections_of_runners(self) -> None:
        """Make Redis close the connections while a runner waits for an ID."""

        async def runner_waits() -> bool:
            return any(client["cmd"] == "brpop" for client in await self._runners())

        await until(runner_waits)
        for client in await self._runners():
            await self.redis.client_kill_filter(_id=client["id"])

    async def _runners(self) -> list[Any]:
        # Other tests use other databases of the same server.
        database = (await self.redis.client_info())["db"]
        return [
            client
            for client in await self.redis.client_list()
            if client["name"].startswith("innosystem-runner") and int(client["db"]) == database
        ]

    async def all_done(self) -> None:
        await until(lambda: all(job.done for job in self.jobs.jobs.values()))

    def settings(self, **more: Any) -> RunnerSettings:
        return RunnerSettings(
            jobs_address=self.addresses["jobs"],
            wallets_address=self.addresses["wallets"],
            redis_url=SecretStr(self.redis_url),
            redis_key_prefix=self.key_prefix,
            **more,
        )

    @asynccontextmanager
    async def running(self, **more: Any) -> AsyncIterator[Runner]:
        """Run a runner in this process; leaving the block drains it, which must succeed."""
        async with Runner.open(self.settings(**more), self.registry) as runner:
            task = asyncio.create_task(runner.run())
            try:
                yield runner
                runner.stop()
                assert await task
            finally:
                task.cancel()

    async def serve_jobs(self, address: str) -> aio.Server:
        server = aio.server()
        job_service_pb2_grpc.add_JobServiceServicer_to_server(self.jobs, server)
        port = server.add_insecure_port(address)
        self.addresses["jobs"] = address.replace(":0", f":{port}")
        await server.start()
        return server

    async def serve_wallets(self) -> aio.Server:
        server = aio.server()
        wallet_service_pb2_grpc.add_WalletServiceServicer_to_server(self.wallets, server)
        self.addresses["wallets"] = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        return server


@pytest.fixture
async def world(redis_url: str) -> AsyncIterator[RunnerStack]:
    """The world of a runner, with separate lists in Redis."""
    async with Redis.from_url(redis_url) as redis:
        world = RunnerStack(redis, redis_url)
        servers = [await world.serve_jobs("127.0.0.1:0"), await world.serve_wallets()]
        yield world
        for server in servers:
            await server.stop(None)
        keys = [world.key(priority) for priority in range(3)]
        await redis.delete(*keys)
