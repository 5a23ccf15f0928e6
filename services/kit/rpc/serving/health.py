"""The standard health service (grpc.health.v1), with checks of the service's dependencies."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import structlog
from grpc_health.v1 import health_pb2
from grpc_health.v1.health import aio
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from prometheus_client import Gauge
from typing_extensions import override

from services.kit.database_identity import DATABASE_METADATA, VERSION_METADATA
from services.kit.errors import explained
from services.kit.settings import StartupError

log = structlog.get_logger(__name__)

_UP = Gauge("innosystem_dependency_up", "Whether a dependency of this process passes its health check.", ["dependency"])

Check = Callable[[], Awaitable[None]]

# While a required check fails, the pauses grow, so that a database that recovers does not meet all replicas together.
_PERIOD_SECONDS_MAX = 5.0
_BACKOFF = 1.5


class HealthServicer(aio.HealthServicer):
    """The standard servicer, which adds release and database of the service to a check, as metadata.

    Args:
        database: Returns the identity of the service's database; empty while it is unknown.
    """

    def __init__(self, database: Callable[[], str] = str) -> None:
        super().__init__()
        self._database = database
        self._version = version("innosystem")

    @override
    async def Check(self, request: HealthCheckRequest, context: Any) -> HealthCheckResponse:
        """Return the health of a service."""
        told = ((VERSION_METADATA, self._version), (DATABASE_METADATA, self._database()))
        context.set_trailing_metadata(tuple((name, value) for name, value in told if value))
        return await super().Check(request, context)

    async def List(self, _request: Any, _context: Any) -> Any:  # noqa: N802 - as in the contract of health
        """Return the health of all services. The library has not implemented it, and its types do not know it."""
        known: dict[str, Any] = self._server_status  # type: ignore[attr-defined]
        responses = {name: HealthCheckResponse(status=status) for name, status in known.items()}
        return health_pb2.HealthListResponse(statuses=responses)  # type: ignore[attr-defined]


@dataclass
class Health:
    """The health of the services of this process.

    Attributes:
        services: The full names of the services; the empty name stands for the whole process.
        required: Checks by name. While one fails, and before the first, the services are NOT_SERVING.
        optional: Checks of dependencies that the services can do without for a while; a failure is only logged.
        period_seconds: The pause between two checks. It grows up to 5 s while a required check fails.
        check_seconds_max: How long a check may take; a longer one fails.
    """

    services: Sequence[str]
    required: Mapping[str, Check]
    optional: Mapping[str, Check] = field(default_factory=dict)
    period_seconds: float = 1.0
    check_seconds_max: float = 3.0
    servicer: aio.HealthServicer = field(default_factory=HealthServicer)
    _problems: dict[str, str] = field(default_factory=dict)

    async def start(self) -> None:
        """Publish the services as NOT_SERVING, until the first checks have passed."""
        await self._publish(HealthCheckResponse.NOT_SERVING)

    async def watch(self) -> None:
        """Check repeatedly until cancelled.

        Raises:
            StartupError: If a check finds that this process cannot run.
        """
        pause_seconds = self.period_seconds
        while True:
            outcomes = await asyncio.gather(
                *(self._passes(name, check) for name, check in {**self.required, **self.optional}.items())
            )
            serving = all(outcomes[: len(self.required)])
            await self._publish(HealthCheckResponse.SERVING if serving else HealthCheckResponse.NOT_SERVING)
            grown = min(pause_seconds * _BACKOFF, max(self.period_seconds, _PERIOD_SECONDS_MAX))
            pause_seconds = self.period_seconds if serving else grown
            await asyncio.sleep(pause_seconds)

    async def stop(self) -> None:
        """Publish NOT_SERVING from now on, regardless of the checks."""
        await self.servicer.enter_graceful_shutdown()

    async def _publish(self, status: int) -> None:
        for name in ("", *self.services):
            await self.servicer.set(name, status)

    async def _passes(self, name: str, check: Check) -> bool:
        """Run a check; return whether it passes, and log changes of its problem."""
        problem = ""
        try:
            async with asyncio.timeout(self.check_seconds_max):
                await check()
        except TimeoutError:
            problem = f"no response within {self.check_seconds_max:g} s"
        except StartupError:
            # Waiting does not help, as with a database behind the code: end the process.
            raise
        except Exception as error:  # noqa: BLE001 - any exception fails the check, and is logged
            problem = explained(error)
        if problem != self._problems.get(name, ""):
            if problem:
                log.warning("dependency_down", dependency=name, error=problem, required=name in self.required)
            else:
                log.info("dependency_up", dependency=name)
        self._problems[name] = problem
        _UP.labels(name).set(not problem)
        return not problem
