"""A real service process that takes signed tokens and certificates, while keys are replaced under load."""

import asyncio
import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import psycopg
import pytest
import trustme
from cryptography import x509

from innosystem.client import Transport, connect, new_id
from innosystem.customers.v1 import customer_service_pb2 as pb
from innosystem.customers.v1.customer_service_pb2_grpc import CustomerServiceStub
from services.kit.auth.issuing import create_key, create_token, delete_key
from services.kit.auth.principal import Kind
from tests.conftest import as_service
from tests.integration.kit.rpc.serving import LIMIT_SECONDS
from tests.integration.kit.rpc.test_process import process, until_serving
from tests.support.certificates import Certificates
from tests.support.until import until

HOUR = timedelta(hours=1)


class Keys:
    """The keys of a platform: a private one, and the file of public ones."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.public = folder / "public-keys.json"
        self.private = folder / "signing-key.json"
        self.kid = create_key(self.private, self.public)

    def replace(self) -> str:
        """Create a second key, which signs from now on; return the ID of the first."""
        before = self.kid
        self.private = self.folder / f"signing-key-{new_id()}.json"
        self.kid = create_key(self.private, self.public)
        return before

    def token(self, kind: Kind, name: str = "ada", **bound: Any) -> str:
        return create_token(self.private, kind=kind, name=name, ttl=HOUR, **bound)


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path / "auth")


@contextmanager
def serving(folder: Path, database_url: str, **settings: str) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """The customers service as a process that demands credentials: its address."""
    environment = {
        "CUSTOMERS_DATABASE_URL": as_service("customers", database_url),
        "CUSTOMERS_LISTEN_ADDRESS": "127.0.0.1:0",
        "LOG_FORMAT": "json",
        "INNOSYSTEM_AUTH": "on",
        **settings,
    }
    with process(folder, **environment) as started:
        yield until_serving(started)["address"], started


@pytest.fixture
def database(fresh_database: Callable[[str], str]) -> str:
    return fresh_database("customers")


async def reason(address: str, call: str, request: Any, token: str | None = None, **how: Any) -> str:
    """Call once; return why it was refused, or OK."""
    async with connect(address, token=(lambda: token) if token is not None else None, **how) as channel:
        stub: Any = CustomerServiceStub(channel)
        try:
            await getattr(stub, call)(request, timeout=LIMIT_SECONDS)
        except grpc.aio.AioRpcError as error:
            return str(error.code().name)
    return "OK"


async def test_each_kind_of_caller_may_do_what_the_contract_says_and_the_audit_trail_names_it(
    tmp_path: Path, keys: Keys, database: str
) -> None:
    with serving(tmp_path, database, INNOSYSTEM_AUTH_KEYS=str(keys.public)) as (address, started):
        ours, other = new_id(), new_id()
        for customer_id in (ours, other):
            create = pb.CreateCustomerRequest(
                customer_id=str(customer_id), email=f"{customer_id}@x.example", name="Shop"
            )
            assert await reason(address, "CreateCustomer", create, keys.token(Kind.OPERATOR)) == "OK"
        get, everything = pb.GetCustomerRequest(customer_id=str(ours)), pb.ListCustomersRequest()
        foreign = pb.GetCustomerRequest(customer_id=str(other))
        client = keys.token(Kind.CLIENT, "shop", customers=[ours])
        expected = {
            ("operator", "GetCustomer"): "OK",
            ("operator", "ListCustomers"): "OK",
            ("service", "GetCustomer"): "OK",
            ("service", "ListCustomers"): "PERMISSION_DENIED",
            ("runner", "GetCustomer"): "PERMISSION_DENIED",
            ("client", "GetCustomer"): "OK",
            ("client", "ListCustomers"): "PERMISSION_DENIED",
        }
        for (kind, call), wanted in expected.items():
            token = client if kind == "client" else keys.token(Kind(kind.upper()))
            assert await reason(address, call, get if call == "GetCustomer" else everything, token) == wanted, (
                kind,
                call,
            )
        assert await reason(address, "GetCustomer", foreign, client) == "NOT_FOUND"
        for wrong in (None, "", "garbage", "a.b.c", client[:-4] + "AAAA"):
            assert await reason(address, "GetCustomer", get, wrong) == "UNAUTHENTICATED", wrong
        started.terminate()
        output, errors = await asyncio.to_thread(started.communicate, timeout=LIMIT_SECONDS)
        lines = [json.loads(line) for line in output.splitlines()]
        assert [line["why"] for line in lines if line["event"] == "token_refused"] == [
            "its header can't be read",
            f"its signature is not that of the key {keys.kid}",
        ]
        assert client.rpartition(".")[2] not in output + errors
    with psycopg.connect(database) as connection:
        actors = connection.execute("SELECT DISTINCT actor FROM audit_log").fetchall()
    assert actors == [("operator/ada",)]


async def test_keys_are_replaced_under_load_without_a_failed_call(tmp_path: Path, keys: Keys, database: str) -> None:
    with serving(tmp_path, database, INNOSYSTEM_AUTH_KEYS=str(keys.public)) as (address, _):
        token, ended = [keys.token(Kind.OPERATOR)], list[str]()
        async with connect(address, token=lambda: token[0]) as channel, asyncio.TaskGroup() as calling:
            stub: Any = CustomerServiceStub(channel)

            async def call() -> None:
                while True:
                    ended.append(await code(stub.ListCustomers(pb.ListCustomersRequest(), timeout=LIMIT_SECONDS)))

            async def more_calls() -> None:
                count = len(ended) + 50
                await until(lambda: len(ended) >= count, limit_seconds=LIMIT_SECONDS)

            calls = [calling.create_task(call()) for _ in range(4)]
            for _ in range(3):
                await more_calls()
                first, old = keys.replace(), token[0]
                # Signed with the new key from this moment on: services have not read the file yet.
                token[0] = keys.token(Kind.OPERATOR)
                await more_calls()
                delete_key(first, keys.public)

                async def old_is_refused(token: str = old) -> bool:
                    return await reason(address, "ListCustomers", pb.ListCustomersRequest(), token) == "UNAUTHENTICATED"

                await until(old_is_refused, limit_seconds=LIMIT_SECONDS)
                # A broken file, such as one that is half written, changes nothing.
                good = keys.public.read_text()
                keys.public.write_text(good[: len(good) // 2])
                await asyncio.sleep(1.5)
                keys.public.write_text(good)
            for each in calls:
                each.cancel()
    assert set(ended) == {"OK"}


async def code(call: Any) -> str:
    return str((await call.code()).name)


async def test_a_service_without_readable_keys_does_not_start(tmp_path: Path, database: str) -> None:
    wrong = {"INNOSYSTEM_AUTH_KEYS": "none.json"}
    for settings, said in (
        ({}, "set INNOSYSTEM_AUTH_KEYS to the public keys that `innosystem tokens keys create` makes"),
        (wrong, "its keys or its mapping can't be read: none.json: No such file or directory"),
    ):
        values = {
            "CUSTOMERS_DATABASE_URL": as_service("customers", database),
            "CUSTOMERS_LISTEN_ADDRESS": "127.0.0.1:0",
        }
        with process(tmp_path, INNOSYSTEM_AUTH="on", **values, **settings) as started:
            _, errors = await asyncio.to_thread(started.communicate, timeout=LIMIT_SECONDS)
        assert (started.returncode, said in errors) == (2, True), errors


async def test_certificates_say_who_calls(tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    of_text = trustme._identity_string_to_x509
    monkeypatch.setattr(
        trustme,
        "_identity_string_to_x509",
        lambda name: x509.UniformResourceIdentifier(name) if name.startswith("spiffe:") else of_text(name),
    )
    authority = trustme.CA()
    server = Certificates(tmp_path / "server", authority, authority)
    mapping = tmp_path / "mapping.yaml"
    mapping.write_text("certificates: {'spiffe://cluster.local/ns/ops/sa/eve': {kind: operator}}")
    settings = {
        **server.server(),
        "INNOSYSTEM_AUTH_TRUST_DOMAIN": "prod.example",
        "INNOSYSTEM_AUTH_MAPPING": str(mapping),
    }
    with serving(tmp_path, database, **settings) as (address, _):
        for number, (name, expected) in enumerate(
            [
                ("spiffe://prod.example/operator/ada", "OK"),
                ("spiffe://cluster.local/ns/ops/sa/eve", "OK"),
                ("spiffe://prod.example/service/jobs", "PERMISSION_DENIED"),
                ("spiffe://prod.example/runner/images", "UNAUTHENTICATED"),
                ("spiffe://other.example/operator/ada", "UNAUTHENTICATED"),
                ("localhost", "UNAUTHENTICATED"),
            ]
        ):
            client = Certificates(tmp_path / str(number), authority, authority, (name,))
            transport = Transport.of(client.client())
            found = await reason(address, "ListCustomers", pb.ListCustomersRequest(), transport=transport)
            assert found == expected, name
