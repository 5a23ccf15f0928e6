"""Asks the gRPC servers of this container whether they serve, and looks when its runner last polled; the HEALTHCHECK.

Usage: `python health.py [ADDRESS ...]`. Without addresses those are asked that the container's services listen on
(CUSTOMERS_LISTEN_ADDRESS and so on). A runner listens nowhere: it sets the time of RUNNER_HEALTH_FILE each second. As
the exec command of a Kubernetes liveness probe this has a runner restarted whose event loop stands still.
"""

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

_SERVICES = ("CUSTOMERS", "WALLETS", "JOBS")
# Less than the HEALTHCHECK's own limit: this says what is wrong, that one only kills.
_SECONDS_MAX = 3.0
# A runner that polls in vain ends itself after RUNNER_WATCHDOG_SECONDS: only one that can't do that has to be killed.
_WATCHDOG_TIMES_MAX = 2
_WATCHDOG_SECONDS = "60"


def main(addresses: Sequence[str]) -> int:
    """Ask every address, or every one of this container and its runner.

    Returns:
        The exit status: 0 if all serve, 1 if one does not.
    """
    answers = [_ask(address) for address in addresses or _own_addresses()]
    health_file = os.environ.get("RUNNER_HEALTH_FILE")
    if health_file and not addresses:
        answers.append(_look(Path(health_file)))
    for answer in answers:
        print(*answer)
    return 0 if all(answer == "SERVING" for _, answer in answers) else 1


def _own_addresses() -> list[str]:
    """Find out where the services of this container listen, as seen from inside it."""
    listening = (os.environ.get(f"{service}_LISTEN_ADDRESS") for service in _SERVICES)
    return [_dialled(address) for address in listening if address]


def _dialled(address: str) -> str:
    host, colon, port = address.rpartition(":")
    return f"localhost:{port}" if colon and host in {"", "0.0.0.0", "[::]"} else address  # noqa: S104 - it is only read


def _look(health_file: Path) -> tuple[str, str]:
    """Tell whether the time of a runner's file is recent."""
    seconds_max = float(os.environ.get("RUNNER_WATCHDOG_SECONDS", _WATCHDOG_SECONDS)) * _WATCHDOG_TIMES_MAX
    try:
        seconds = time.time() - health_file.stat().st_mtime
    except FileNotFoundError:
        return str(health_file), "MISSING"
    return str(health_file), "SERVING" if seconds <= seconds_max else f"{seconds:.0f} SECONDS OLD"


def _ask(address: str) -> tuple[str, str]:
    # A proxy of the environment has no part in what stays inside the container.
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            # The types leave the methods of this stub out.
            check = HealthStub(channel).Check  # type: ignore[attr-defined]
            answer = check(HealthCheckRequest(), timeout=_SECONDS_MAX)
        except grpc.RpcError as error:
            return address, error.code().name
    return address, HealthCheckResponse.ServingStatus.Name(answer.status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
