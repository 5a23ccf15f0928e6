"""Tokens, the keys that sign them and the keys of charges are replaced under load, and no call fails."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from innosystem.client.credentials import TokenFile
from innosystem.customers.v1.customer_service_pb2 import ListCustomersRequest
from innosystem.jobs.v1 import job_pb2
from innosystem.jobs.v1.job_service_pb2 import ListJobsRequest
from innosystem.wallets.v1.wallet_service_pb2 import ListWalletsRequest
from services import SERVICES
from services.kit.auth.issuing import create_key, create_token, delete_key
from services.kit.auth.principal import Kind
from services.kit.charges.keys import new_key
from tests.e2e.load import Load
from tests.e2e.stack import Stack, new_job
from tests.support.rpc.jobs_stack import JobsStack
from tests.support.rpc.refusals import reason_of
from tests.support.rpc.tenants import stubs
from tests.support.until import until_sync
from tools.local.credentials import Credentials

HANDLERS = "tests.e2e.handlers_for_tests"
OURS, OTHERS = "ours", "others"
# The load of 8 threads is about a hundred jobs a second: it is no test of speed.
PAUSE_SECONDS = 0.08
# Enough to see that work continues.
SOME = 50


@dataclass
class Keys:
    """The files of a platform whose every token and key can be replaced.

    Attributes:
        folder: Where they are.
    """

    folder: Path

    @property
    def public(self) -> Path:
        return self.folder / "public-keys.json"

    def file(self, name: str) -> Path:
        return self.folder / f"{name}.token"

    def write(self, name: str, text: str) -> None:
        """Replace a file in one step, as secrets that are mounted are."""
        new = self.folder / f".{name}"
        new.write_text(text)
        new.replace(self.folder / name)

    def signed(self, key: str) -> dict[str, str]:
        """Return a token of each caller, whose name is that of the key that signs it."""
        kinds = {**dict.fromkeys(SERVICES, Kind.SERVICE), "operator": Kind.OPERATOR}
        kinds |= {"runner": Kind.RUNNER, "client": Kind.CLIENT}
        return {
            caller: create_token(
                self.folder / f"{key}.json",
                kind=kind,
                name=f"{caller}-{key}",
                ttl=timedelta(hours=1),
                queues=[OURS] if kind is Kind.RUNNER else None,
            )
            for caller, kind in kinds.items()
        }

    def hand_out(self, tokens: dict[str, str]) -> None:
        for caller, token in tokens.items():
            self.write(f"{caller}.token", token)


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    made = Keys(tmp_path / "keys")
    create_key(made.folder / "first.json", made.public)
    made.hand_out(made.signed("first"))
    made.write("charge-keys", new_key("old").line)
    return made


@pytest.fixture
def running(keys: Keys, tmp_path: Path, fresh_database: Callable[[str], str], redis_url: str) -> Iterator[Stack]:
    """The services; only runners charge."""
    issued = Credentials(
        shared={
            "INNOSYSTEM_AUTH": "on",
            "INNOSYSTEM_AUTH_KEYS": str(keys.public),
            "INNOSYSTEM_CHARGE_KEYS_FILE": str(keys.folder / "charge-keys"),
        },
        services={name: {"INNOSYSTEM_TOKEN_FILE": str(keys.file(name))} for name in SERVICES},
        runner={"RUNNER_TOKEN_FILE": str(keys.file("runner"))},
    )
    urls = {service: fresh_database(service) for service in SERVICES}
    with closing(Stack(tmp_path, urls, redis_url, key_prefix=f"{uuid4()}:", issued=issued)) as stack:
        stack.start(*SERVICES, JOBS_SETTLE_AFTER_SECONDS="3600")
        yield stack


def caller(stack: Stack, token: Callable[[], str]) -> JobsStack:
    return stubs(lambda _: token(), [stack.channel(service) for service in SERVICES])


def accepted_by(stack: Stack, token: str) -> set[str]:
    """Return the services that know a token of an operator."""
    holder = caller(stack, lambda: token)
    calls: dict[str, Callable[[], object]] = {
        "customers": lambda: holder.customers.ListCustomers(ListCustomersRequest(page_size=1)),
        "wallets": lambda: holder.wallets.ListWallets(ListWalletsRequest(page_size=1)),
        "jobs": lambda: holder.jobs.ListJobs(ListJobsRequest(page_size=1)),
    }
    return {service for service, call in calls.items() if not reason_of(call)}


def replace_signing_key(stack: Stack, keys: Keys, kid: str) -> None:
    """Have a new key known, then replace all tokens, then forget the old key, as the documentation says."""
    old = keys.file("operator").read_text()
    create_key(keys.folder / "second.json", keys.public)
    new = keys.signed("second")
    until_sync(lambda: len(accepted_by(stack, new["operator"])) == len(SERVICES))
    keys.hand_out(new)
    for service, actor in (
        ("jobs", "client/client-second"),
        ("jobs", "runner/runner-second"),
        ("wallets", "runner/runner-second"),
        ("wallets", "service/jobs-second"),
        ("customers", "service/jobs-second"),
    ):
        until_sync(lambda service=service, actor=actor: f'"{actor}"' in stack.processes[service].output)  # type: ignore[misc]
    delete_key(kid, keys.public)
    until_sync(lambda: not accepted_by(stack, old))


def replace_charge_key(stack: Stack, keys: Keys) -> None:
    """Have a new key known, then have it sign."""
    old, new = (keys.folder / "charge-keys").read_text(), new_key("new").line
    for text, ids in ((f"{old}\n{new}", ["old", "new"]), (f"{new}\n{old}", ["new", "old"])):
        keys.write("charge-keys", text)
        for service in ("jobs", "wallets"):
            stack.processes[service].logged("charge_keys_read", key_ids=ids)


def charges(stack: Stack) -> list[tuple[str, str]]:
    """Return the job of each charge, and the key that vouches for it."""
    with psycopg.connect(stack.database_urls["wallets"]) as connection:
        query = "SELECT job_id::text, vouched_by FROM wallet_transactions WHERE job_id IS NOT NULL"
        return connection.execute(query).fetchall()


def charged_by(stack: Stack, key_id: str) -> int:
    return Counter(one for _, one in charges(stack))[key_id]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_runner_runs_its_queue_and_each_job_is_charged_once_while_all_tokens_and_keys_are_replaced(
    running: Stack, keys: Keys
) -> None:
    operator, client, bound = (caller(running, TokenFile(keys.file(name))) for name in ("operator", "client", "runner"))
    customer_id = operator.customer()
    types = {queue: operator.job_type(queue=queue, processing_logic_id="e2e.double").name for queue in (OURS, OTHERS)}
    runner = running.start_runner(HANDLERS, RUNNER_QUEUES=OURS)
    foreign = client.jobs.CreateJob(new_job(customer_id, types[OTHERS], '{"n": 1}')).job.id
    [kid] = [one["kid"] for one in json.loads(keys.public.read_text())["keys"]]

    def submission() -> tuple[str, Callable[[], object]]:
        time.sleep(PAUSE_SECONDS)
        request = new_job(customer_id, types[OURS], '{"n": 1}')
        return request.job_id, lambda: client.jobs.CreateJob(request)

    with Load(submission) as load:
        until_sync(lambda: charged_by(running, "old") > SOME)
        replace_signing_key(running, keys, kid)
        before = charged_by(running, "old")
        until_sync(lambda: charged_by(running, "old") > before + SOME)
        replace_charge_key(running, keys)
        until_sync(lambda: charged_by(running, "new") > SOME)

    def uncharged() -> list[str]:
        request = ListJobsRequest(filter="NOT billing_status = CHARGED", page_size=1000)
        return [one.id for one in operator.jobs.ListJobs(request).jobs]

    until_sync(lambda: uncharged() == [foreign], context=uncharged)
    assert load.errors == []
    assert sorted(job_id for job_id, _ in charges(running)) == sorted(load.returned)
    assert {key_id for _, key_id in charges(running)} == {"old", "new"}
    assert not bound.claim(foreign, lease_id=str(uuid4())).jobs
    assert operator.get(foreign).status == job_pb2.JOB_STATUS_PENDING
    # What this test tries with tokens that are not known, yet or any more, has no actor.
    for service in SERVICES:
        known = [one for one in running.processes[service].lines("call") if "actor" in one]
        assert [one for one in known if one["code"] != "OK"] == []
    # The runner warns of each call of its own that fails.
    assert [one for one in map(json.loads, runner.output.splitlines()) if one["level"] != "info"] == []
