"""The stubs of all services in one object."""

import os
from contextlib import AsyncExitStack
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from grpc import aio

from innosystem.client.channel import connect

if TYPE_CHECKING:
    from innosystem.customers.v1.customer_service_pb2_grpc import CustomerServiceAsyncStub
    from innosystem.jobs.v1.job_service_pb2_grpc import JobServiceAsyncStub
    from innosystem.jobs.v1.job_type_service_pb2_grpc import JobTypeServiceAsyncStub
    from innosystem.wallets.v1.wallet_service_pb2_grpc import WalletServiceAsyncStub


class Innosystem:
    """A client of the platform, for use in `async with`.

    Connects to a service on its first use.

    Args:
        customers: The address of the customers service. By default CUSTOMERS_ADDRESS of the
            environment, or localhost:50051.
        wallets: The address of the wallets service: WALLETS_ADDRESS, or localhost:50052.
        jobs: The address of the jobs service, which also serves job types: JOBS_ADDRESS, or
            localhost:50053.
        channel: Passed on to `connect` for each service: `deadline_seconds`, `transport`, `token` and so on.
    """

    def __init__(
        self,
        *,
        customers: str | None = None,
        wallets: str | None = None,
        jobs: str | None = None,
        **channel: Any,
    ) -> None:
        environment = os.environ
        self._customers_address = customers or environment.get("CUSTOMERS_ADDRESS", "localhost:50051")
        self._wallets_address = wallets or environment.get("WALLETS_ADDRESS", "localhost:50052")
        self._jobs_address = jobs or environment.get("JOBS_ADDRESS", "localhost:50053")
        self._channel_arguments = channel
        self._open: list[aio.Channel] = []

    @cached_property
    def customers(self) -> "CustomerServiceAsyncStub":
        """The CustomerService."""
        from innosystem.customers.v1.customer_service_pb2_grpc import CustomerServiceStub

        return CustomerServiceStub(self._connect(self._customers_address))

    @cached_property
    def wallets(self) -> "WalletServiceAsyncStub":
        """The WalletService."""
        from innosystem.wallets.v1.wallet_service_pb2_grpc import WalletServiceStub

        return WalletServiceStub(self._connect(self._wallets_address))

    @cached_property
    def jobs(self) -> "JobServiceAsyncStub":
        """The JobService."""
        from innosystem.jobs.v1.job_service_pb2_grpc import JobServiceStub

        return JobServiceStub(self._jobs_channel)

    @cached_property
    def job_types(self) -> "JobTypeServiceAsyncStub":
        """The JobTypeService, a part of the jobs service."""
        from innosystem.jobs.v1.job_type_service_pb2_grpc import JobTypeServiceStub

        return JobTypeServiceStub(self._jobs_channel)

    @cached_property
    def _jobs_channel(self) -> aio.Channel:
        return self._connect(self._jobs_address)

    def _connect(self, address: str) -> aio.Channel:
        channel = connect(address, **self._channel_arguments)
        self._open.append(channel)
        return channel

    async def close(self) -> None:
        """Close all connections. Running calls are cancelled."""
        async with AsyncExitStack() as closing:
            for channel in self._open:
                closing.push_async_callback(channel.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.close()
