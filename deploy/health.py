"""Asks the gRPC servers of this container whether they serve; the image's HEALTHCHECK.

Usage: `python health.py [ADDRESS ...]`. Without addresses those are asked that the container's services listen on
(CUSTOMERS_LISTEN_ADDRESS and so on). A runner listens nowhere: there is nothing to ask, and that it lives has to do.
"""

import os
import sys
from collections.abc import Sequence

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

_SERVICES = ("CUSTOMERS", "WALLETS", "JOBS")
# Less than the HEALTHCHECK's own limit: this says what is wrong, that one only kills.
_SECONDS_MAX = 3.0


def main(addresses: Sequence[str]) -> int:
    """Ask every address, or every one of this container.

    Returns:
        The exit status: 0 if all serve, 1 if one does not.
    """
    answers = [_ask(address) for address in addresses or _own_addresses()]
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
