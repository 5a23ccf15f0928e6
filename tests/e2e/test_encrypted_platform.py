"""The whole platform by TLS, each process with a certificate of its own, which is renewed meanwhile."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import grpc
import trustme

from innosystem.jobs.v1 import job_pb2
from services import SERVICES
from tests.e2e.processes import PROJECT, Process
from tests.e2e.stack import Stack, new_job
from tests.support.certificates import HOSTS, Certificates
from tests.support.until import until_sync

HANDLERS = "tests.e2e.handlers_for_tests"


def run(*command: str, **settings: str) -> subprocess.CompletedProcess[str]:
    ours = ("INNOSYSTEM_TLS", "CUSTOMERS_", "WALLETS_", "JOBS_", "RUNNER_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return subprocess.run(
        [sys.executable, *command],
        env={**inherited, "PYTHONPATH": str(PROJECT), **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def trusted_credentials(files: Certificates) -> grpc.ChannelCredentials:
    read = (files.ca_file.read_bytes(), files.key_file.read_bytes(), files.certificate_file.read_bytes())
    return grpc.ssl_channel_credentials(*read)


def test_jobs_are_done_and_paid_by_tls_while_all_certificates_are_renewed(stack: Stack, tmp_path: Path) -> None:
    ca = trustme.CA(key_type=trustme.KeyType.ECDSA)
    files = {
        name: Certificates(tmp_path / f"tls-{name}", ca, ca, names=(*HOSTS, f"{name}.test"))
        for name in (*SERVICES, "runner", "operator")
    }

    def own(name: str) -> Mapping[str, str]:
        return {**files[name].server(), **files[name].client()}

    stack.credentials = trusted_credentials(files["operator"])
    for service in SERVICES:
        stack.start(service, **own(service), **{f"{service.upper()}_CONNECTION_AGE_SECONDS": "1"})
    # Each third of a second a lease is renewed, over the connection of a thread of its own.
    runner = stack.start_runner(HANDLERS, **files["runner"].client(), RUNNER_LEASE_SECONDS="1")
    customer_id = stack.paying_customer()
    waits, double = stack.job_type("e2e.waits"), stack.job_type("e2e.double")
    waiting = stack.submit(new_job(customer_id, waits, json.dumps({"folder": str(tmp_path), "n": 1})))
    until_sync((tmp_path / "begun-1").exists)

    for number in range(1, 4):
        for each in files.values():
            each.renew()
        for service in SERVICES:
            until_renewed(stack.processes[service], "server", number)
        done = [stack.submit(new_job(customer_id, double, json.dumps({"n": n}))).id for n in range(20)]
        until_renewed(runner, "client", number)
        for one in done:
            until_charged(stack, one)
    (tmp_path / "go").touch()

    until_charged(stack, waiting.id)
    # One attempt: it was never taken from its runner.
    assert stack.job(waiting.id).status == job_pb2.JOB_STATUS_SUCCEEDED
    for event in ("leases_not_renewed", "service_unavailable", "tls_files_not_renewed", "runner_broken"):
        assert not runner.lines(event)

    addresses = {f"{name.upper()}_ADDRESS": stack.addresses[name] for name in SERVICES}
    listed = run("-m", "tools.cli", "customers", "list", "-o", "json", **addresses, **files["operator"].client())
    assert listed.returncode == 0, listed.stderr
    assert customer_id in listed.stdout
    refused = run("-m", "tools.cli", "customers", "list", **addresses)
    assert refused.returncode != 0
    where = {"JOBS_LISTEN_ADDRESS": stack.addresses["jobs"]}
    assert run("deploy/health.py", **where, **files["jobs"].client()).returncode == 0
    assert run("deploy/health.py", **where).returncode == 1


def until_renewed(process: Process, side: str, times: int) -> None:
    until_sync(lambda: len(process.lines("tls_files_renewed", side=side)) >= times, context=lambda: process.output)


def until_charged(stack: Stack, job_id: str) -> None:
    until_sync(lambda: stack.job(job_id).billing_status == job_pb2.BILLING_STATUS_CHARGED)
