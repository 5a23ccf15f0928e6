"""Two replicas of each service, each a process with a port of its own, and runners that know both of each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import as_service
from tests.e2e.processes import Process

REPLICAS = 2
HANDLERS = "tests.e2e.handlers_for_tests"

# What takes a minute in production, so that the work of who died is found soon.
_JOBS_SETTINGS = {
    "JOBS_SETTLE_AFTER_SECONDS": "2",
    "JOBS_RESCUE_GRACE_SECONDS": "2",
    "JOBS_RECONCILE_SECONDS": "1",
}
_RUNNER_SETTINGS = {"RUNNER_LEASE_SECONDS": "3", "RUNNER_PROCESSES": "1"}


@dataclass
class Replicas:
    """What runs, by name: `jobs-0`, `jobs-1`, `runner-0` and so on.

    Attributes:
        folder: Where the processes work.
        database_urls: The databases, by service.
        redis_url: The queue.
        key_prefix: Keeps the queue's lists apart from those of other tests.
        history: The processes of each name, the present one last.
    """

    folder: Path
    database_urls: Mapping[str, str]
    redis_url: str
    key_prefix: str
    history: dict[str, list[Process]] = field(default_factory=dict)
    _addresses: dict[str, str] = field(default_factory=dict)

    def start(self, *names: str) -> None:
        """Start these together, and wait until each is ready. A service listens where it did before."""
        for name in names:
            service, _, _ = name.partition("-")
            module = "innosystem.runner" if service == "runner" else f"services.{service}"
            arguments = ("--handlers", HANDLERS) if service == "runner" else ()
            process = Process(module, *arguments, environment=self._environment(name), folder=self.folder)
            self.history.setdefault(name, []).append(process)
        for name in names:
            if name.startswith("runner"):
                self.process(name).logged("runner_ready")
            else:
                self._addresses[name] = self.process(name).logged("serving")["address"]

    def process(self, name: str) -> Process:
        """The present process of a name."""
        return self.history[name][-1]

    def target(self, service: str) -> str:
        """Where clients of a service connect: to all of its replicas."""
        return "ipv4:" + ",".join(self._addresses[name] for name in replicas(service))

    def close(self) -> None:
        """End all that runs."""
        for processes in self.history.values():
            processes[-1].kill()

    def _environment(self, name: str) -> dict[str, str]:
        service, _, _ = name.partition("-")
        queue = {"REDIS_URL": self.redis_url, "REDIS_KEY_PREFIX": self.key_prefix}
        if service == "runner":
            return {**queue, **self._clients("wallets", "jobs"), **_RUNNER_SETTINGS}
        upper = service.upper()
        settings = {
            f"{upper}_DATABASE_URL": as_service(service, self.database_urls[service]),
            f"{upper}_DATABASE_POOL_SIZE": "8",
            f"{upper}_LISTEN_ADDRESS": self._addresses.get(name, "127.0.0.1:0"),
        }
        if service == "jobs":
            settings |= {**queue, **self._clients("customers", "wallets"), **_JOBS_SETTINGS}
        return settings

    def _clients(self, *services: str) -> dict[str, str]:
        return {f"{service.upper()}_ADDRESS": self.target(service) for service in services}


def replicas(service: str) -> list[str]:
    """The names of a service's replicas."""
    return [f"{service}-{number}" for number in range(REPLICAS)]
