"""Check that the gRPC servers of this container serve, and when its runner last polled; the HEALTHCHECK.

Usage: `python health.py [ADDRESS ...]`. Without addresses, it checks those that the container's services listen on
(CUSTOMERS_LISTEN_ADDRESS and so on). A runner listens nowhere: it updates the time of RUNNER_HEALTH_FILE each second.
As the exec command of a Kubernetes liveness probe, this restarts a runner whose event loop stands still.
"""

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from innosystem.client.renewal import client_files, credentials_of, transport_options
from innosystem.shared.transport import Transport

_SERVICES = ("CUSTOMERS", "WALLETS", "JOBS")
# Less than the HEALTHCHECK's own limit, which kills without saying what is wrong.
_SECONDS_MAX = 3.0
# A runner whose polls do not return ends itself after RUNNER_WATCHDOG_SECONDS: only one that can't must be killed.
_WATCHDOG_TIMES_MAX = 2
_WATCHDOG_SECONDS = "60"


def main(addresses: Sequence[str]) -> int:
    """Check every address, or those of this container and its runner.

    Returns:
        The exit status: 0 if all serve, 1 if one does not.
    """
    statuses = [_ask(address) for address in addresses or _own_addresses()]
    health_file = os.environ.get("RUNNER_HEALTH_FILE")
    if health_file and not addresses:
        statuses.append(_look(Path(health_file)))
    for status in statuses:
        print(*status)
    return 0 if all(status == "SERVING" for _, status in statuses) else 1


def _own_addresses() -> list[str]:
    """Return where the services of this container listen, as seen from inside it."""
    listening = (os.environ.get(f"{service}_LISTEN_ADDRESS") for service in _SERVICES)
    return [_dialled(address) for address in listening if address]


def _dialled(address: str) -> str:
    host, colon, port = address.rpartition(":")
    return f"localhost:{port}" if colon and host in {"", "0.0.0.0", "[::]"} else address  # noqa: S104 - it is only read


def _look(health_file: Path) -> tuple[str, str]:
    """Return whether the time of a runner's file is recent."""
    seconds_max = float(os.environ.get("RUNNER_WATCHDOG_SECONDS", _WATCHDOG_SECONDS)) * _WATCHDOG_TIMES_MAX
    try:
        seconds = time.time() - health_file.stat().st_mtime
    except FileNotFoundError:
        return str(health_file), "MISSING"
    return str(health_file), "SERVING" if seconds <= seconds_max else f"{seconds:.0f} SECONDS OLD"


def _ask(address: str) -> tuple[str, str]:
    with _channel(address) as channel:
        try:
            # The type stubs lack the methods of this stub.
            check = HealthStub(channel).Check  # type: ignore[attr-defined]
            response = check(HealthCheckRequest(), timeout=_SECONDS_MAX)
        except grpc.RpcError as error:
            return address, error.code().name
    return address, HealthCheckResponse.ServingStatus.Name(response.status)


def _channel(address: str) -> grpc.Channel:
    """Open a channel, by TLS where INNOSYSTEM_TLS_CA_FILE is set, as for all clients."""
    # Calls inside the container must not go through a proxy of the environment.
    options = [("grpc.enable_http_proxy", 0)]
    if (files := client_files(address, transport := Transport.of(os.environ))) is None:
        return grpc.insecure_channel(address, options)
    options += transport_options(address, transport).items()
    return grpc.secure_channel(address, credentials_of(files.current()), options)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
