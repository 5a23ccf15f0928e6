"""The commands of the Dockerfile and of compose.yaml, run as they stand there, in empty folders and without Docker.

Only names that containers have and this machine has not are replaced: folders of the image, and addresses.
"""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from graphlib import TopologicalSorter
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import grpc
import pytest
from packaging.utils import canonicalize_name

from innosystem.client import new_id
from innosystem.customers.v1.customer_service_pb2 import CreateCustomerRequest
from innosystem.customers.v1.customer_service_pb2_grpc import CustomerServiceStub
from innosystem.jobs.v1.job_pb2 import BILLING_STATUS_CHARGED, JOB_STATUS_SUCCEEDED, Job
from innosystem.jobs.v1.job_service_pb2 import CreateJobRequest, GetJobRequest
from innosystem.jobs.v1.job_service_pb2_grpc import JobServiceStub
from innosystem.jobs.v1.job_type_pb2 import PROCESSOR_TYPE_SYNC, JobType
from innosystem.jobs.v1.job_type_service_pb2 import CreateJobTypeRequest
from innosystem.jobs.v1.job_type_service_pb2_grpc import JobTypeServiceStub
from innosystem.wallets.v1.wallet_service_pb2 import (
    CreateWalletRequest,
    CreditRequest,
    GetWalletRequest,
    ListTransactionsRequest,
    WalletOwner,
)
from innosystem.wallets.v1.wallet_service_pb2_grpc import WalletServiceStub
from services import SERVICES
from tests.e2e.containers import PREFIX, START_SECONDS, Container, Network, run
from tests.e2e.deployment import (
    Service,
    compose,
    copy_from_context,
    dockerfile,
    example_settings,
    exec_form,
    is_ours,
)
from tests.support.until import until_sync
from tools.local.embedded import EmbeddedPostgres, EmbeddedRedis

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

INSTALL_SECONDS = 600
STOP_SECONDS = 30


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the image has in /opt/innosystem, made by the Dockerfile's own instructions from its build context."""
    source, prefix = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("opt") / "innosystem"
    build, image = dockerfile()
    python = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for word, arguments in build.instructions:
        if word == "COPY":
            copy_from_context(arguments, source)
        elif word == "RUN":
            command = [part.replace(PREFIX, str(prefix)) for part in exec_form(arguments)]
            run(command, {**os.environ, "PATH": python}, source, limit_seconds=INSTALL_SECONDS)
    for arguments in image.all("COPY"):
        if not arguments.startswith("--from="):
            copy_from_context(arguments.replace(f"{PREFIX}/", ""), prefix)
    return prefix


@pytest.fixture
def stack(installed: Path, tmp_path: Path) -> Iterator[tuple[dict[str, Container], Network]]:
    """All that compose.yaml starts, in its order and under its conditions."""
    services = compose(example_settings())
    ours = [name for name in _order(services) if is_ours(services[name])]
    with ExitStack() as running:
        postgres = running.enter_context(EmbeddedPostgres(tmp_path / "servers"))
        redis = running.enter_context(EmbeddedRedis(tmp_path / "servers"))
        # As the first two lines of deploy/README.md have it.
        credentials = ["tokens", "platform", str(tmp_path / "credentials")]
        run([str(installed / "bin" / "innosystem"), *credentials], {}, tmp_path, limit_seconds=START_SECONDS)
        network = Network(services, postgres, redis, tmp_path)
        network.create_databases(services["postgres"])
        started: dict[str, Container] = {}
        for name in ours:
            service = services[name]
            for other, how in service["depends_on"].items():
                if other in started:
                    _await(started[other], how["condition"])
            container = Container(service, network.environment(name, service), installed, tmp_path / name)
            started[name] = running.enter_context(container)
        yield started, network


def _order(services: Mapping[str, Service]) -> list[str]:
    return list(
        TopologicalSorter({name: service.get("depends_on", {}) for name, service in services.items()}).static_order()
    )


def _await(container: Container, condition: str) -> None:
    if condition == "service_completed_successfully":
        assert container.ended(START_SECONDS) == 0, container.log.read_text()
    else:
        assert condition == "service_healthy"
        until_sync(container.serves, limit_seconds=START_SECONDS, context=container.log.read_text)


class Bearer(grpc.UnaryUnaryClientInterceptor):
    """Sends the token of a file with each call."""

    def __init__(self, file: Path) -> None:
        self._metadata = [("authorization", f"Bearer {file.read_text().strip()}")]

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """Call with the token."""
        return continuation(client_call_details._replace(metadata=self._metadata), request)


class Client:
    """A customer with ten euros and a job type for seven cents, over the published ports."""

    def __init__(self, channels: Mapping[str, grpc.Channel]) -> None:
        self.jobs = JobServiceStub(channels["jobs"])
        self.wallets = WalletServiceStub(channels["wallets"])
        self.customer_id = str(new_id())
        self.owner = WalletOwner(customer_id=self.customer_id, currency="EUR")
        CustomerServiceStub(channels["customers"]).CreateCustomer(
            CreateCustomerRequest(customer_id=self.customer_id, name="Ada", email="ada@example.com"), timeout=10
        )
        self.wallets.CreateWallet(CreateWalletRequest(customer_id=self.customer_id, currency="EUR"), timeout=10)
        credit = CreditRequest(
            customer_id=self.customer_id, currency="EUR", amount_cents=1000, idempotency_key=str(new_id())
        )
        self.wallets.Credit(credit, timeout=10)
        job_type = JobType(
            id=str(new_id()),
            name="source-stats",
            processing_logic_id="python.source-stats",
            processor_type=PROCESSOR_TYPE_SYNC,
            standard_cost_cents=7,
            currency="EUR",
            enabled=True,
        )
        JobTypeServiceStub(channels["jobs"]).CreateJobType(CreateJobTypeRequest(job_type=job_type), timeout=10)

    def submit(self, source: str) -> str:
        request = CreateJobRequest(
            job_id=str(new_id()),
            customer_id=self.customer_id,
            job_type="source-stats",
            input_json=json.dumps({"path": "example.py", "source": source}),
        )
        return self.jobs.CreateJob(request, timeout=10).job.id

    def job(self, job_id: str) -> Job:
        return self.jobs.GetJob(GetJobRequest(job_id=job_id), timeout=10).job

    def ledger(self) -> tuple[int, list[tuple[str, int]]]:
        """The balance, and the amounts of all transactions by their jobs."""
        listed = self.wallets.ListTransactions(ListTransactionsRequest(owner=self.owner), timeout=10)
        wallet = self.wallets.GetWallet(GetWalletRequest(owner=self.owner), timeout=10).wallet
        return wallet.current_balance_cents, sorted((each.job_id, each.amount_cents) for each in listed.transactions)


def sbom_names_what_is_installed(installed: Path) -> None:
    sbom = json.loads((installed / "sbom.json").read_text("utf-8"))
    assert sbom["bomFormat"] == "CycloneDX"
    assert sbom["metadata"]["component"]["name"] == "innosystem-platform"
    named = {(one["name"], one["version"]) for one in sbom["components"]}
    assert all(one["externalReferences"][0]["hashes"] for one in sbom["components"])
    [packages] = (installed / "lib").glob("python*/site-packages")
    found = {(canonicalize_name(one.metadata["Name"]), one.version) for one in distributions(path=[str(packages)])}
    own = {one for one in found if one[0].startswith("innosystem")}
    assert found - own <= named, found - own - named


# One test, because workers of pytest-xdist would else install the same thing each.
def test_what_the_image_holds_runs_and_charges_a_job_as_compose_starts_it_and_ends_cleanly(
    installed: Path, stack: tuple[dict[str, Container], Network], tmp_path: Path
) -> None:
    program, *arguments = exec_form(dockerfile()[-1].one("CMD"))
    run([str(installed / "bin" / program), *arguments], {}, tmp_path, limit_seconds=START_SECONDS)
    tools = {"pip", "uv", "protoc-gen-mypy", "hatchling", "pytest", "mypy"}
    assert tools.isdisjoint(path.name for path in (installed / "bin").iterdir())
    sbom_names_what_is_installed(installed)

    containers, network = stack
    for name in SERVICES:
        until_sync(containers[name].serves, limit_seconds=START_SECONDS, context=containers[name].log.read_text)
    with ExitStack() as opened:
        channels = {
            address.partition(":")[0]: grpc.intercept_channel(
                opened.enter_context(grpc.insecure_channel(local)), Bearer(tmp_path / "credentials/operator.token")
            )
            for address, local in network.addresses.items()
        }
        client = Client(channels)
        job_id = client.submit("def double(x):\n    return x if x < 0 else 2 * x\n")
        until_sync(
            lambda: client.job(job_id).billing_status == BILLING_STATUS_CHARGED,
            limit_seconds=START_SECONDS,
            context=containers["runner"].log.read_text,
        )
        job = client.job(job_id)
        assert job.status == JOB_STATUS_SUCCEEDED
        assert json.loads(job.output_json)["most_complex"] == {"name": "double", "complexity": 2}
        assert client.ledger() == (993, [("", 1000), (job_id, -7)])

    running = {name: container for name, container in containers.items() if name != "migrate"}
    for name, container in running.items():
        assert container.process is not None
        assert container.process.poll() is None, f"{name}: {container.log.read_text()}"
        container.process.terminate()
    for name, container in running.items():
        assert container.ended(STOP_SECONDS) == 0, f"{name}: {container.log.read_text()}"
    for container in containers.values():
        # The file system of the containers is read-only.
        assert list(container.empty.iterdir()) == []
    assert containers["jobs"].health() == 1
