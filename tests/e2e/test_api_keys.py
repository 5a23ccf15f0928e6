"""API keys at the doors of real processes: what they open, and when they stop doing so."""

import asyncio
import re
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from secrets import token_urlsafe
from time import monotonic
from typing import Any
from urllib.request import urlopen
from uuid import uuid4

import grpc
import pytest

from innosystem.client import error_from
from innosystem.customers.v1 import customer_service_pb2 as customers
from innosystem.customers.v1.customer_pb2 import Customer, CustomerLimits, RateLimit
from innosystem.customers.v1.customer_service_pb2_grpc import CustomerServiceStub
from innosystem.jobs.v1.job_service_pb2 import GetJobRequest, ListJobsRequest
from innosystem.options.v1 import options_pb2
from innosystem.wallets.v1.wallet_service_pb2 import GetWalletRequest, WalletOwner
from innosystem.wallets.v1.wallet_service_pb2_grpc import WalletServiceStub
from tests.e2e.processes import Process
from tests.e2e.stack import Stack, new_customer, new_job, refusal
from tests.support.until import until_sync

ON = {"INNOSYSTEM_AUTH": "on", "INNOSYSTEM_AUTH_TRUST_DOMAIN": "tests.example"}
# A message takes milliseconds; this machine may have much else to do.
TOLD_WITHIN_SECONDS = 2.0
TTL_SECONDS = 5.0
WRONG_KEYS = 10_000
AT_ONCE = 50


def bearer(api_key: str) -> dict[str, Any]:
    """The arguments of a call with a key."""
    return {"metadata": [("authorization", f"Bearer {api_key}")], "timeout": 15}


def new_key(stack: Stack, customer_id: str, *scopes: int, **values: Any) -> customers.CreateApiKeyResponse:
    request = customers.CreateApiKeyRequest(
        customer_id=customer_id,
        api_key_id=str(uuid4()),
        name="backend",
        scopes=scopes or (options_pb2.SCOPE_READ, options_pb2.SCOPE_SUBMIT),  # type: ignore[arg-type] # numbers
        **values,
    )
    return stack.customers.CreateApiKey(request, timeout=15)


def revoke(stack: Stack, created: customers.CreateApiKeyResponse) -> None:
    request = customers.RevokeApiKeyRequest(customer_id=created.key.customer_id, api_key_id=created.key.id)
    stack.customers.RevokeApiKey(request, timeout=15)


def wallet_of(stack: Stack, customer_id: str, api_key: str) -> str:
    """The reason why a key doesn't open the wallet of a customer; empty if it does."""
    owner = WalletOwner(customer_id=customer_id, currency="EUR")
    error = refusal(lambda: stack.wallets.GetWallet(GetWalletRequest(owner=owner), **bearer(api_key)))
    return error.reason if error else ""


def told_in_time(stack: Stack, customer_id: str, api_key: str) -> str:
    """The same, for a caller with less time than the first attempt of a lookup; empty if it was not enough."""
    request = GetWalletRequest(owner=WalletOwner(customer_id=customer_id, currency="EUR"))
    with pytest.raises(grpc.RpcError) as caught:
        stack.wallets.GetWallet(request, **{**bearer(api_key), "timeout": 0.2})
    error = error_from(caught.value)
    return error.reason if error else ""


def jobs_of(stack: Stack, api_key: str) -> str:
    error = refusal(lambda: stack.jobs.ListJobs(ListJobsRequest(), **bearer(api_key)))
    return error.reason if error else ""


def payer(stack: Stack) -> str:
    """Create a customer with money, while the wallets service takes calls without credentials."""
    stack.start("customers", "wallets")
    customer_id = stack.paying_customer()
    assert stack.processes["wallets"].stop() == 0
    return customer_id


def unknown() -> str:
    return "inno_" + token_urlsafe(32)


def lookups(address: str) -> dict[str, float]:
    """The lookups of keys that a process has made, by outcome."""
    with urlopen(f"http://{address}/metrics") as page:
        text = page.read().decode()
    found = re.findall(r'^innosystem_api_key_lookups_total\{outcome="(\w+)"\} (\S+)$', text, re.MULTILINE)
    return {outcome: float(number) for outcome, number in found}


def memory_kb(process: Process) -> int:
    status = Path(f"/proc/{process.pid}/status").read_text("utf-8")
    return int(re.findall(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)[0])


def test_a_key_opens_what_its_scopes_name_until_it_ends(stack: Stack) -> None:
    customer_id = payer(stack)
    stack.start("wallets", **ON)
    stack.start("jobs")
    job_type = stack.job_type("tests.work", standard_cost_cents=0)
    assert stack.processes["jobs"].stop() == 0
    stack.start("jobs", **ON)
    reader = new_key(stack, customer_id, options_pb2.SCOPE_READ).api_key
    submitter = new_key(stack, customer_id, options_pb2.SCOPE_SUBMIT).api_key
    short = new_key(stack, customer_id, ttl={"seconds": 1}).api_key

    assert wallet_of(stack, customer_id, reader) == jobs_of(stack, reader) == ""
    assert wallet_of(stack, customer_id, submitter) == jobs_of(stack, submitter) == "NOT_ALLOWED"
    job = new_job(customer_id, job_type)
    error = refusal(lambda: stack.jobs.CreateJob(job, **bearer(reader)))
    assert error is not None
    assert (error.reason, error.metadata["kind"]) == ("NOT_ALLOWED", "client")
    stack.jobs.CreateJob(job, **bearer(submitter))
    stack.jobs.GetJob(GetJobRequest(job_id=job.job_id), **bearer(reader))

    assert until_sync(lambda: wallet_of(stack, customer_id, short), limit_seconds=3.0) == "BAD_CREDENTIALS"
    texts = {
        str(error.message)
        for key in (unknown(), short, "inno_short")
        if (error := refusal(lambda key=key: stack.jobs.ListJobs(ListJobsRequest(), **bearer(key)))) is not None  # type: ignore[misc]
    }
    assert len(texts) == 1
    printed = "".join(one.output + one.errors for one in stack.processes.values())
    assert f"client/{customer_id}/" in printed
    assert "inno_" not in printed


def test_a_revoked_key_is_refused_when_the_message_arrives_or_after_seconds_without_one(stack: Stack) -> None:
    customer_id = payer(stack)
    stack.start("wallets", "jobs", **ON)
    created = new_key(stack, customer_id)
    other = new_key(stack, customer_id).api_key
    assert wallet_of(stack, customer_id, created.api_key) == jobs_of(stack, created.api_key) == ""

    revoke(stack, created)
    began = monotonic()

    # The jobs service has Redis, the wallets service has not.
    told = until_sync(lambda: jobs_of(stack, created.api_key), limit_seconds=TOLD_WITHIN_SECONDS)
    assert told == "BAD_CREDENTIALS"
    ended = until_sync(lambda: wallet_of(stack, customer_id, created.api_key), limit_seconds=TTL_SECONDS + 2)
    assert ended == "BAD_CREDENTIALS"
    assert monotonic() - began < TTL_SECONDS + 2
    assert wallet_of(stack, customer_id, other) == jobs_of(stack, other) == ""


def test_a_wallets_service_with_redis_is_told_of_revoked_keys_as_well(stack: Stack) -> None:
    customer_id = payer(stack)
    stack.start("wallets", **ON, REDIS_URL=stack.redis_url, REDIS_KEY_PREFIX=stack.key_prefix)
    created = new_key(stack, customer_id)
    until_sync(lambda: wallet_of(stack, customer_id, created.api_key) == "")
    revoke(stack, created)
    told = until_sync(lambda: wallet_of(stack, customer_id, created.api_key), limit_seconds=TOLD_WITHIN_SECONDS)
    assert told == "BAD_CREDENTIALS"


def test_the_limits_of_one_customer_hold_for_its_keys_at_each_service(stack: Stack) -> None:
    customer_id = payer(stack)
    limits = CustomerLimits(requests=RateLimit(per_second=1, burst=3))
    request = customers.UpdateCustomerRequest(customer=Customer(id=customer_id, limits=limits))
    request.update_mask.paths.append("limits")
    stack.customers.UpdateCustomer(request, timeout=15)
    stack.start("wallets", "jobs", **ON)
    other = new_customer()
    free = stack.customers.CreateCustomer(other, timeout=15).api_key
    limited = new_key(stack, customer_id).api_key

    assert wallet_of(stack, customer_id, limited) == jobs_of(stack, limited) == ""
    assert "RATE_LIMITED" in {wallet_of(stack, customer_id, limited) for _ in range(10)}
    assert "RATE_LIMITED" in {jobs_of(stack, limited) for _ in range(10)}
    assert {jobs_of(stack, free) for _ in range(10)} == {""}


def test_the_customers_service_looks_its_callers_keys_up_itself_and_forgets_them_at_once(stack: Stack) -> None:
    stack.start("customers")
    request = new_customer()
    api_key = stack.customers.CreateCustomer(request, timeout=15).api_key
    key = stack.customers.ListApiKeys(
        customers.ListApiKeysRequest(customer_id=request.customer_id), timeout=15
    ).api_keys[0]
    closed = Process(
        "services.customers",
        environment=stack.environment("customers") | ON | {"CUSTOMERS_LISTEN_ADDRESS": "127.0.0.1:0"},
        folder=stack.folder,
    )
    stack.processes["closed"] = closed
    with grpc.insecure_channel(closed.logged("serving")["address"]) as channel:
        get = customers.GetCustomerRequest(customer_id=request.customer_id)

        def look() -> str:
            error = refusal(lambda: CustomerServiceStub(channel).GetCustomer(get, **bearer(api_key)))
            return error.reason if error else ""

        until_sync(lambda: look() == "")
        # By another process of the service, which tells this one.
        revoke(stack, customers.CreateApiKeyResponse(key=key))
        assert until_sync(look, limit_seconds=TOLD_WITHIN_SECONDS) == "BAD_CREDENTIALS"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["is killed", "is frozen"])
def test_known_keys_go_on_and_unknown_ones_are_unavailable_when_the_customers_service(
    stack: Stack, number: signal.Signals
) -> None:
    customer_id = payer(stack)
    stack.start("wallets", **ON, INNOSYSTEM_API_KEY_TTL_SECONDS="0.5", INNOSYSTEM_API_KEY_STALE_SECONDS="6")
    known, cold = new_key(stack, customer_id).api_key, new_key(stack, customer_id).api_key
    assert wallet_of(stack, customer_id, known) == ""
    began = monotonic()

    stack.processes["customers"].send(number)

    while monotonic() - began < 4:
        assert wallet_of(stack, customer_id, known) == ""
    assert wallet_of(stack, customer_id, cold) == wallet_of(stack, customer_id, unknown()) == "DEPENDENCY_UNAVAILABLE"
    # The two have waited; the next ones learn it in less time than any lookup takes that gets no response.
    assert until_sync(lambda: told_in_time(stack, customer_id, cold), limit_seconds=10) == "DEPENDENCY_UNAVAILABLE"
    ended: Callable[[], str] = lambda: wallet_of(stack, customer_id, known)  # noqa: E731
    assert until_sync(ended, limit_seconds=12) == "DEPENDENCY_UNAVAILABLE"


async def flood(address: str, count: int) -> Counter[str]:
    """Call with as many different wrong keys; return the reasons."""
    reasons: Counter[str] = Counter()
    remaining = iter(range(count))
    request = GetWalletRequest(owner=WalletOwner(customer_id=str(uuid4()), currency="EUR"))

    async def calls(stub: Any) -> None:
        for _ in remaining:
            try:
                await stub.GetWallet(request, **bearer(unknown()))
            except grpc.aio.AioRpcError as error:
                found = error_from(error)
                reasons[found.reason if found else error.code().name] += 1

    async with grpc.aio.insecure_channel(address) as channel:
        await asyncio.gather(*(calls(WalletServiceStub(channel)) for _ in range(AT_ONCE)))
    return reasons


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_flood_of_wrong_keys_neither_grows_the_memory_nor_reaches_the_database_and_known_keys_go_on(
    stack: Stack,
) -> None:
    customer_id = payer(stack)
    stack.start("wallets", **ON, WALLETS_METRICS_LISTEN_ADDRESS="127.0.0.1:0")
    process = stack.processes["wallets"]
    metrics = process.logged("metrics")["address"]
    known = new_key(stack, customer_id).api_key
    assert wallet_of(stack, customer_id, known) == ""
    asyncio.run(flood(stack.addresses["wallets"], WRONG_KEYS // 10))
    before, began = memory_kb(process), monotonic()

    reasons = asyncio.run(flood(stack.addresses["wallets"], WRONG_KEYS))
    seconds = monotonic() - began

    assert set(reasons) <= {"BAD_CREDENTIALS", "OVERLOADED"}
    assert sum(reasons.values()) == WRONG_KEYS
    assert wallet_of(stack, customer_id, known) == ""
    # 200 different wrong keys in a second, and those that were being looked up.
    assert lookups(metrics)["wrong"] <= (200 + AT_ONCE) * (seconds + 3)
    assert memory_kb(process) - before < 16_000
