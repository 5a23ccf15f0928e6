"""The endpoint at which Prometheus reads metrics (D10)."""

import socket
import threading
import urllib.request
from urllib.error import URLError

import pytest
import structlog
from prometheus_client import Counter

from innosystem.shared.metrics_endpoint import EndpointError, metrics_endpoint

REQUESTS = Counter("shop_requests", "A metric of a service.")


def read(address: str) -> str:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as response:
        return str(response.read(), "utf-8")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_metrics_are_read_at_the_address_that_the_log_tells_until_the_block_ends(host: str) -> None:
    REQUESTS.inc()
    threads = threading.active_count()
    with structlog.testing.capture_logs() as lines:
        async with metrics_endpoint(f"{host}:0"):
            [line] = lines
            address = line["address"]
            assert f"\nshop_requests_total {REQUESTS._value.get()}\n" in read(address)

    assert (line["event"], address.partition(":")[0]) == ("metrics", host)
    with pytest.raises(URLError, match="refused"):
        read(address)
    # The executor that stopped the endpoint keeps one.
    assert threading.active_count() <= threads + 1


async def test_metrics_are_served_on_ipv6_as_well() -> None:
    with structlog.testing.capture_logs() as lines:
        try:
            async with metrics_endpoint("[::1]:0"):
                assert "shop_requests_total" in read(lines[0]["address"])
        except EndpointError as error:
            pytest.skip(f"this machine has no IPv6: {error}")


async def test_the_address_is_free_again_afterwards() -> None:
    with structlog.testing.capture_logs() as lines:
        async with metrics_endpoint("127.0.0.1:0"):
            pass
        async with metrics_endpoint(lines[0]["address"]):
            assert lines[1] == lines[0]


async def test_nothing_is_served_without_an_address() -> None:
    threads = threading.active_count()
    with structlog.testing.capture_logs() as lines:
        async with metrics_endpoint(""):
            assert threading.active_count() == threads
    assert lines == []


async def test_an_address_in_use_is_a_startup_error_of_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(EndpointError) as caught:
            async with metrics_endpoint(address):
                pytest.fail("it must not start")
    assert str(caught.value) == f"can't serve metrics on {address}: Address already in use"


@pytest.mark.parametrize(
    "address", ["9464", ":9464", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:99999", "no.invalid:0"]
)
async def test_an_address_that_is_none_is_a_startup_error_of_one_line(address: str) -> None:
    with pytest.raises(EndpointError) as caught:
        async with metrics_endpoint(address):
            pytest.fail("it must not start")
    message = str(caught.value)
    assert message.startswith(f"can't serve metrics on {address}: ")
    assert "\n" not in message
