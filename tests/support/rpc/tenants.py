"""Callers of every kind, bound and not, and what belongs to each of several tenants."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import grpc

from innosystem.customers.v1 import customer_service_pb2 as customers
from innosystem.customers.v1.customer_service_pb2_grpc import CustomerServiceStub
from innosystem.jobs.v1 import job_service_pb2 as jobs
from innosystem.jobs.v1.job_service_pb2_grpc import JobServiceStub
from innosystem.jobs.v1.job_type_service_pb2_grpc import JobTypeServiceStub
from innosystem.options.v1 import options_pb2
from innosystem.wallets.v1 import wallet_service_pb2 as wallets
from innosystem.wallets.v1.wallet_service_pb2_grpc import WalletServiceStub
from services.kit.auth.authentication import Authentication
from services.kit.auth.issuing import create_key, create_token
from services.kit.auth.principal import API_KEY, Kind, Principal, Scope
from services.kit.errors import BadCredentials
from tests.support.rpc.jobs_stack import JobsStack
from tests.support.rpc.refusals import reason_of
from tests.support.rpc.repeats import failed
from tests.support.until import until_sync

#: The token of a call, by the path of its method; empty for none.
TokenOf = Callable[[str], str]

#: The request ID of all calls: refusals repeat it.
REQUEST_ID: Final = "the-same-for-all"
#: A's jobs wait in the first, B's in the second.
QUEUE_X, QUEUE_Y = "tenant-x", "tenant-y"
#: B's amounts, which are part of no other number here.
B_CENTS: Final = 777_313_770


@dataclass(frozen=True, kw_only=True)
class Belongings:
    """What belongs to a customer, under one ID of each sort; or what belongs to nobody."""

    customer_id: str = field(default_factory=lambda: str(uuid4()))
    name: str = "nobody"
    email: str = field(default_factory=lambda: f"{uuid4()}@example.com")
    wallet_id: str = field(default_factory=lambda: str(uuid4()))
    job_type_id: str = field(default_factory=lambda: str(uuid4()))
    queue: str = field(default_factory=lambda: f"q-{uuid4()}")
    pending: str = field(default_factory=lambda: str(uuid4()))
    running: str = field(default_factory=lambda: str(uuid4()))
    succeeded: str = field(default_factory=lambda: str(uuid4()))
    charged: str = field(default_factory=lambda: str(uuid4()))
    failed: str = field(default_factory=lambda: str(uuid4()))
    cancelled: str = field(default_factory=lambda: str(uuid4()))
    lease_id: str = field(default_factory=lambda: str(uuid4()))
    hold_id: str = field(default_factory=lambda: str(uuid4()))
    ended_hold_id: str = field(default_factory=lambda: str(uuid4()))
    credit_id: str = field(default_factory=lambda: str(uuid4()))
    charge_id: str = field(default_factory=lambda: str(uuid4()))
    api_key_id: str = field(default_factory=lambda: str(uuid4()))
    runner_id: str = field(default_factory=lambda: str(uuid4()))
    others: tuple[str, ...] = ()

    def texts(self) -> set[str]:
        """Return what tells of them."""
        values = vars(self)
        return {values[name] for name in values if name not in ("others", "job_type_id", "queue")} | set(self.others)


def furnish(world: JobsStack, queue: str, *, cents: int, more: int = 0) -> Belongings:
    """Give a new customer something of each kind, as someone who may do everything.

    Args:
        world: The services.
        queue: The queue of its jobs.
        cents: What is paid into its wallet.
        more: How many more jobs wait.
    """
    customer_id = world.customer(0)
    name = f"Name of {uuid4()}"
    update = customers.UpdateCustomerRequest(update_mask={"paths": ["name"]})  # type: ignore[arg-type] # protobuf does
    update.customer.id, update.customer.name = customer_id, name
    customer = world.customers.UpdateCustomer(update).customer
    credit_id = world.credit(customer_id, cents)
    kind = world.job_type(queue=queue)
    values = {"customer_id": customer_id, "job_type_id": kind.id}
    charged = world.succeeded(**values)
    charge = wallets.DeductRequest(
        customer_id=customer_id,
        currency=charged.currency,
        amount_cents=charged.estimated_cost_cents,
        idempotency_key=f"job:{charged.id}",
        hold_id=charged.hold_id,
        job_id=charged.id,
    )
    charge_id = world.wallets.Deduct(charge).transaction.id
    settlement = jobs.JobSettlement(job_id=charged.id, transaction=jobs.ChargeTransaction(id=charge_id))
    world.jobs.SettleJobs(jobs.SettleJobsRequest(settlements=[settlement]))
    cancelled = world.job(**values)
    world.jobs.CancelJob(jobs.CancelJobRequest(job_id=cancelled.id))
    world.released(cancelled.id)
    running, lease_id = world.running(**values)
    pending = world.job(**values, labels={"of": customer_id})
    many = jobs.BatchCreateJobsRequest(requests=[world.request(**values) for _ in range(more)])
    others = [one.response.job for one in world.jobs.BatchCreateJobs(many).results] if more else []
    [key] = world.customers.ListApiKeys(customers.ListApiKeysRequest(customer_id=customer_id)).api_keys
    return Belongings(
        customer_id=customer_id,
        name=name,
        email=customer.email,
        wallet_id=world.wallet(customer_id).id,
        job_type_id=kind.id,
        queue=queue,
        pending=pending.id,
        running=running.id,
        succeeded=world.succeeded(**values).id,
        charged=charged.id,
        failed=failed(world, **values).id,
        cancelled=cancelled.id,
        lease_id=lease_id,
        hold_id=pending.hold_id,
        ended_hold_id=charged.hold_id,
        credit_id=credit_id,
        charge_id=charge_id,
        api_key_id=key.id,
        others=tuple(one for job in others for one in (job.id, job.hold_id)),
    )


class Names:
    """Tokens that are the names of principals."""

    def __init__(self) -> None:
        self.principals: dict[str, Principal] = {}

    def knows(self, token: str) -> bool:
        """Whether a token is of this kind."""
        return True

    async def principal(self, token: str, peer: str) -> Principal:
        """Return the principal of a token."""
        if token not in self.principals:
            raise BadCredentials
        return self.principals[token]

    def authentication(self) -> Authentication:
        """Return what accepts these tokens, and nothing else."""
        return Authentication(required=True, bearers=[self])


def principals(a: Belongings, b: Belongings, c: Belongings) -> dict[str, Principal]:
    """Return callers of each kind that the contract knows, and what each of the bound ones is bound to."""
    of = {"a": [a], "b": [b], "ac": [a, c]}
    customers_of = {name: frozenset(UUID(one.customer_id) for one in those) for name, those in of.items()}
    everybody = [Principal(kind=kind, name="all", credential="token") for kind in Kind]
    clients = [replace(everybody[0], name=name, customers=those) for name, those in customers_of.items()]
    runner = Principal(kind=Kind.RUNNER, name="x", queues=frozenset([a.queue]), credential="token")
    return {one.actor: one for one in (*everybody, *clients, runner)}


def more_bound(a: Belongings) -> dict[str, Principal]:
    """Return callers that are bound although no credential binds such ones yet."""
    bound = frozenset([UUID(a.customer_id)])
    kinds = (Kind.OPERATOR, Kind.SERVICE)
    return {one.actor: one for one in (Principal(kind=kind, name="a", customers=bound) for kind in kinds)}


def signed_token(key_file: Path, who: Principal, ttl: timedelta = timedelta(hours=1)) -> str:
    """Return a signed token of a caller."""
    assert who.kind is not None
    return create_token(key_file, kind=who.kind, name=who.name, ttl=ttl, customers=who.customers, queues=who.queues)


def keys_of(anyone: JobsStack, of: Belongings) -> dict[str, tuple[Principal, str]]:
    """Create an API key of a customer for each choice of scopes; return callers by name, and their keys."""
    made = {}
    for scopes in ([Scope.READ], [Scope.SUBMIT], [Scope.READ, Scope.SUBMIT]):
        created = _new_key(anyone, of, scopes)
        who = Principal(
            kind=Kind.CLIENT,
            name=f"{of.customer_id}/{created.key.id}",
            customers=frozenset([UUID(of.customer_id)]),
            scopes=frozenset(scopes),
            credential=API_KEY,
        )
        made[f"key/{'+'.join(scopes).lower()}"] = who, created.api_key
    return made


def wrong_tokens(anyone: JobsStack, of: Belongings, key_file: Path) -> dict[str, str]:
    """Return credentials that open nothing, by name; those that end have ended."""
    operator = Principal(kind=Kind.OPERATOR, name="all")
    another = key_file.with_name("another-key.json")
    create_key(another, another.with_name("another-public-keys.json"))
    expired, revoked = _new_key(anyone, of, list(Scope), ttl={"seconds": 1}), _new_key(anyone, of, list(Scope))
    ended = customers.RevokeApiKeyRequest(customer_id=of.customer_id, api_key_id=revoked.key.id)
    anyone.customers.RevokeApiKey(ended)
    return {
        "a forged token": signed_token(another, operator),
        "an expired token": signed_token(key_file, operator, timedelta(seconds=1)),
        "an expired key": expired.api_key,
        "a revoked key": revoked.api_key,
        "an unknown key": f"inno_{'x' * 43}",
        "no token": "nobody",
    }


def await_refused(stack: JobsStack) -> None:
    """Wait until credentials have ended."""
    until_sync(lambda: reason_of(lambda: stack.jobs.ListJobs(jobs.ListJobsRequest())) == "BAD_CREDENTIALS")


def _new_key(
    anyone: JobsStack, of: Belongings, scopes: Sequence[Scope], **values: Any
) -> customers.CreateApiKeyResponse:
    request = customers.CreateApiKeyRequest(
        customer_id=of.customer_id,
        api_key_id=str(uuid4()),
        name="backend",
        scopes=[options_pb2.Scope.Value(f"SCOPE_{one}") for one in scopes],
        **values,
    )
    return anyone.customers.CreateApiKey(request)


@dataclass(frozen=True)
class TenantsWorld:
    """The services and three tenants.

    Attributes:
        anyone: The services as those use them who need no credentials.
        as_caller: Returns the services as a caller uses them, by name, with a request ID if one is given.
        principals: The callers, by name.
        refused: Credentials that open nothing, by name: `as_caller` takes them as well.
        urls: The databases of the services.
    """

    anyone: JobsStack
    as_caller: Callable[..., JobsStack]
    principals: dict[str, Principal]
    refused: Sequence[str]
    a: Belongings
    b: Belongings
    c: Belongings
    urls: Mapping[str, str]
    nobody: Belongings = field(default_factory=Belongings)


class _WithToken(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    def __init__(self, token: TokenOf, request_id: str) -> None:
        self._token = token
        self._request_id = request_id

    def intercept_unary_unary(self, continuation: Callable[..., Any], client_call_details: Any, request: Any) -> Any:
        """Call with the token."""
        token = self._token(client_call_details.method)
        authorization = [("authorization", f"Bearer {token}")] if token else []
        metadata = [("x-request-id", self._request_id), *authorization]
        return continuation(client_call_details._replace(metadata=metadata, timeout=30), request)

    intercept_unary_stream = intercept_unary_unary


def stubs(token: TokenOf, services: Sequence[grpc.Channel], request_id: str = REQUEST_ID) -> JobsStack:
    """Return the services of customers, wallets and jobs as the holder of tokens uses them."""
    with_token = _WithToken(token, request_id)
    channels = [grpc.intercept_channel(one, with_token) for one in services]
    return JobsStack(
        JobServiceStub(channels[2]),
        JobTypeServiceStub(channels[2]),
        CustomerServiceStub(channels[0]),
        WalletServiceStub(channels[1]),
        settle=lambda: False,
        audit=lambda: False,
    )
