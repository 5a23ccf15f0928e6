"""Secrets and payloads go through every service, a runner and the command at LOG_LEVEL=DEBUG, and no log has one."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest
from sqlalchemy import make_url

from innosystem.customers.v1 import customer_service_pb2
from innosystem.jobs.v1 import job_pb2, job_service_pb2
from innosystem.wallets.v1 import wallet_service_pb2
from services import SERVICES
from tests.conftest import as_service
from tests.e2e.commands import command
from tests.e2e.conftest import Servers
from tests.e2e.processes import Process
from tests.e2e.stack import Stack, new_customer, new_job
from tests.support.until import until_sync

HANDLERS = "tests.e2e.handlers_for_tests"
TIMEOUT_SECONDS = 15.0
DEBUG = {"LOG_LEVEL": "DEBUG"}
SCHEMA = '{"type": "object", "properties": {"n": {"type": ["string", "integer"]}}}'

PASSWORD = "planted-password-of-a-database"
TOKEN = "planted.token-of-a-caller.signature"
FORGED_KEY = "inno_planted-key-that-nobody-has-issued-0000000"
# The handler doubles a text by writing it twice, so the output has it as well.
PAYLOAD = "planted-text-of-a-payload"
LABEL = "planted-not-secret"


def with_password(url: str) -> str:
    return make_url(url).set(password=PASSWORD).render_as_string(hide_password=False)


def calls_with_credentials(stack: Stack, api_key: str) -> None:
    """Calls every service as callers with good, wrong and malformed credentials do."""
    for credentials in (api_key, FORGED_KEY, TOKEN):
        metadata = (("authorization", f"Bearer {credentials}"), ("x-api-key", credentials))
        resolve = customer_service_pb2.ResolveApiKeyRequest(api_key=credentials)
        customers = customer_service_pb2.ListCustomersRequest(filter=f'name = "{uuid4()}"')
        wallets = wallet_service_pb2.ListWalletsRequest(page_size=1)
        calls: list[tuple[Any, object]] = [
            (stack.customers.ResolveApiKey, resolve),
            (stack.customers.ListCustomers, customers),
            (stack.wallets.ListWallets, wallets),
            (stack.jobs.ListJobs, job_service_pb2.ListJobsRequest(page_size=1)),
        ]
        for method, request in calls:
            with suppress(grpc.RpcError):
                method(request, metadata=metadata, timeout=TIMEOUT_SECONDS)


def submissions(stack: Stack, customer_id: str, job_type: str) -> list[str]:
    """Submit jobs with the payload; return those that end."""
    text = json.dumps({"n": PAYLOAD})
    jobs = [new_job(customer_id, job_type, text), new_job(customer_id, stack.job_type("e2e.fails"), text)]
    for request in jobs:
        request.labels["note"] = LABEL
        stack.submit(request)
        # Again, with another payload: it is compared with the first.
        request.input_json = json.dumps({"n": PAYLOAD * 2})
        with pytest.raises(grpc.RpcError):
            stack.submit(request)
    for wrong in (f'{{"n": ["{PAYLOAD}"]}}', f'{{"n": "{PAYLOAD}', f'"{PAYLOAD}\\u0000"'):
        with pytest.raises(grpc.RpcError):
            stack.submit(new_job(customer_id, job_type, wrong))
    return [request.job_id for request in jobs]


def run_commands(stack: Stack, urls: dict[str, str], folder: Path, job_id: str) -> str:
    """Run commands that work on the services, and on the databases; return what they have logged."""
    addresses = {f"{name.upper()}_ADDRESS": address for name, address in stack.addresses.items()}
    databases = {f"{name.upper()}_DATABASE_URL": url for name, url in urls.items()}
    logged = ""
    for arguments, settings in (
        (["jobs", "get", job_id], {"INNOSYSTEM_TOKEN": TOKEN}),
        (["customers", "list"], {"INNOSYSTEM_TOKEN": TOKEN}),
        (["migrate", "status"], databases),
        (["verify", "--json"], databases),
    ):
        process = command(*arguments, cwd=folder, **{**DEBUG, **addresses, **settings})
        # Its output is what was asked for. What it logs, and what it says of failures, goes to the other stream.
        logged += process.communicate(timeout=60)[1]
    return logged


def test_no_log_has_a_secret_or_a_payload(own_stack: Stack, servers: Servers, tmp_path: Path) -> None:
    stack = own_stack
    for service in SERVICES:
        url = with_password(as_service(service, stack.database_urls[service]))
        stack.start(service, **DEBUG, **{f"{service.upper()}_DATABASE_URL": url})
    runner = stack.start_runner(HANDLERS, **DEBUG)
    forged = Process(
        "innosystem.runner",
        "--handlers",
        HANDLERS,
        environment={
            **DEBUG,
            "INNOSYSTEM_TOKEN": TOKEN,
            "JOBS_ADDRESS": stack.addresses["jobs"],
            "REDIS_URL": stack.redis_url,
        },
        folder=tmp_path,
    )
    stack.processes["forged"] = forged

    created = stack.customers.CreateCustomer(new_customer(), timeout=TIMEOUT_SECONDS)
    stack.wallet(created.customer.id, 1000)
    calls_with_credentials(stack, created.api_key)
    job_type = stack.job_type("e2e.double", input_schema_json=SCHEMA)
    done, failed = submissions(stack, created.customer.id, job_type)
    until_sync(lambda: stack.job(done).status == job_pb2.JOB_STATUS_SUCCEEDED)
    until_sync(lambda: stack.job(failed).status == job_pb2.JOB_STATUS_FAILED)
    assert PAYLOAD * 2 in stack.job(done).output_json
    owners = {name: with_password(url) for name, url in stack.database_urls.items()}
    said = run_commands(stack, owners, tmp_path, done)
    for process in (runner, *(stack.processes[service] for service in SERVICES)):
        assert process.stop() == 0

    folder = servers.postgres._log.parent
    logs = {
        str(path): path.read_text("utf-8", "replace")
        for path in (*tmp_path.iterdir(), *folder.glob("*.log"))
        if path.is_file()
    }
    assert any(done in text for text in logs.values())
    logs["commands"] = said
    secrets = (PASSWORD, TOKEN, FORGED_KEY, created.api_key, PAYLOAD)
    found = [(name, secret) for name, text in logs.items() for secret in secrets if secret in text]
    assert not found
