"""All services with callers of every kind: as real processes, and in this process with tokens that are names.

What is not about credentials needs no processes.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import grpc
import pytest

from innosystem.client.contract import services as contract_services
from innosystem.customers.v1.customer_service_pb2_grpc import add_CustomerServiceServicer_to_server
from innosystem.jobs.v1.job_service_pb2_grpc import add_JobServiceServicer_to_server
from innosystem.jobs.v1.job_type_service_pb2_grpc import add_JobTypeServiceServicer_to_server
from innosystem.options.v1 import options_pb2
from innosystem.wallets.v1.wallet_service_pb2_grpc import add_WalletServiceServicer_to_server
from services import SERVICES
from services.kit.auth.authentication import OFF, Authentication
from services.kit.auth.principal import Kind, Principal
from tests.e2e.stack import Stack
from tests.support.rpc.jobs_stack import JobsStack
from tests.support.rpc.loop_thread import AioServer, LoopThread
from tests.support.rpc.promises import promised
from tests.support.rpc.servers import (
    CHARGE_KEY,
    customers_servicer,
    job_types_servicer,
    jobs_servicer,
    wallets_servicer,
)
from tests.support.rpc.tenants import (
    B_CENTS,
    QUEUE_X,
    QUEUE_Y,
    REQUEST_ID,
    Belongings,
    Names,
    TenantsWorld,
    await_refused,
    furnish,
    keys_of,
    more_bound,
    principals,
    signed_token,
    stubs,
    wrong_tokens,
)
from tools.local.credentials import create_credentials

Add = Callable[[Any], None]

# What waits, runs or succeeded stays so, however long the tests take.
_NOTHING_BY_ITSELF = {
    "INNOSYSTEM_AUTH_CLOCK_SKEW_SECONDS": "0",
    "JOBS_RESCUE_GRACE_SECONDS": "3600",
    "JOBS_SETTLE_AFTER_SECONDS": "3600",
    "JOBS_UNSERVED_WAIT_SECONDS": "3600",
}


@dataclass(frozen=True)
class _Listening:
    """Where a service listens for anyone, and for callers with tokens."""

    anyone: str
    callers: str


@contextmanager
def _serving(loop: LoopThread, address: str, authentication: Authentication, adds: Iterable[Add]) -> Iterator[None]:
    server = AioServer(loop, authentication)
    for add in adds:
        add(server)
    server.add_insecure_port(address)
    server.start()
    yield
    server.stop()


@pytest.fixture(scope="module")
def world(
    loop_thread: LoopThread,
    fresh_database: Callable[[str], str],
    redis_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[TenantsWorld]:
    """Start the services, and give three customers something of each kind; B has hundreds of things."""
    names = Names()
    with ExitStack() as opened:

        def listening(*adds: Add) -> _Listening:
            folder = tmp_path_factory.mktemp("service")
            for place, authentication in (("anyone", OFF), ("callers", names.authentication())):
                opened.enter_context(_serving(loop_thread, f"unix:{folder / place}", authentication, adds))
            return _Listening(f"unix:{folder / 'anyone'}", f"unix:{folder / 'callers'}")

        urls = {service: fresh_database(service) for service in ("customers", "wallets", "jobs")}
        customers = opened.enter_context(customers_servicer(loop_thread, urls["customers"]))
        customers_at = listening(lambda server: add_CustomerServiceServicer_to_server(customers, server))
        wallets = opened.enter_context(wallets_servicer(loop_thread, urls["wallets"]))
        wallets_at = listening(lambda server: add_WalletServiceServicer_to_server(wallets, server))
        types = opened.enter_context(job_types_servicer(loop_thread, urls["jobs"]))
        parts = opened.enter_context(
            jobs_servicer(
                loop_thread,
                urls["jobs"],
                redis_url=redis_url,
                redis_prefix=f"{uuid4()}:",
                customers_address=customers_at.anyone,
                wallets_address=wallets_at.anyone,
            )
        )
        jobs_at = listening(
            lambda server: add_JobServiceServicer_to_server(parts.servicer, server),
            lambda server: add_JobTypeServiceServicer_to_server(types, server),
        )

        def channels(kind: str) -> list[grpc.Channel]:
            addresses = [getattr(one, kind) for one in (customers_at, wallets_at, jobs_at)]
            return [promised(opened.enter_context(grpc.insecure_channel(one))) for one in addresses]

        anyone = replace(stubs(lambda _: "", channels("anyone")), settle=lambda: loop_thread.run(parts.settler.round()))
        a, b, c = _tenants(anyone)
        names.principals.update(principals(a, b, c) | more_bound(a))
        protected = channels("callers")

        def as_caller(token: str, request_id: str = REQUEST_ID) -> JobsStack:
            return stubs(lambda _: token, protected, request_id)

        yield TenantsWorld(anyone, as_caller, names.principals, ["nobody"], a, b, c, urls)


@pytest.fixture(scope="module")
def processes(
    fresh_database: Callable[[str], str], redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TenantsWorld]:
    """Start the services as processes; the customers have the same, and callers have credentials of their own."""
    folder = tmp_path_factory.mktemp("tenants")
    credentials = folder / "credentials"
    credentials.mkdir()
    (credentials / "charge-keys").write_text(CHARGE_KEY.line)
    issued = create_credentials(credentials)
    signing_key = credentials / "signing-key.json"
    urls = {service: fresh_database(service) for service in SERVICES}
    with closing(Stack(folder, urls, redis_url, key_prefix=f"{uuid4()}:", issued=issued)) as stack:
        stack.start(*SERVICES, **_NOTHING_BY_ITSELF)
        channels = [promised(stack.channel(service)) for service in SERVICES]
        unbound = {kind: signed_token(signing_key, Principal(kind=kind, name="anyone")) for kind in Kind}
        anyone = stubs(lambda method: unbound[_WHO[method]], channels)
        a, b, c = _tenants(anyone)
        callers = principals(a, b, c)
        tokens = {name: signed_token(signing_key, who) for name, who in callers.items()}
        for name, (who, key) in keys_of(anyone, a).items():
            callers[name], tokens[name] = who, key
        refused = wrong_tokens(anyone, a, signing_key)

        def as_caller(name: str, request_id: str = REQUEST_ID) -> JobsStack:
            return stubs(lambda _: {"": "", **tokens, **refused}[name], channels, request_id)

        for name in refused:
            await_refused(as_caller(name))
        yield TenantsWorld(anyone, as_caller, callers, list(refused), a, b, c, urls)


@pytest.fixture(scope="module", params=["world", "processes"])
def each_world(request: pytest.FixtureRequest) -> TenantsWorld:
    """Return the services in this process, and then the processes."""
    found: TenantsWorld = request.getfixturevalue(request.param)
    return found


def _tenants(anyone: JobsStack) -> tuple[Belongings, Belongings, Belongings]:
    return (
        furnish(anyone, QUEUE_X, cents=100_000, more=20),
        furnish(anyone, QUEUE_Y, cents=B_CENTS, more=150),
        furnish(anyone, QUEUE_X, cents=100_000),
    )


def _who(callers: Collection[int]) -> Kind:
    """Return one of those who may call a method, the one that need not prove anything if possible.

    A method whose request has the credentials does not look at the caller.
    """
    preferred = (Kind.OPERATOR, Kind.SERVICE, Kind.CLIENT, Kind.RUNNER)
    found = (kind for kind in preferred if options_pb2.Caller.Value(f"CALLER_{kind}") in callers)
    return next(found, Kind.OPERATOR)


_WHO = {
    f"/{service.full_name}/{method.name}": _who(method.GetOptions().Extensions[options_pb2.method].callers)
    for service in contract_services()
    for method in service.methods
}
