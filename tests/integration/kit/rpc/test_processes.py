"""A service in two processes on one port: both serve, both drain, and one that dies is restarted."""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from innosystem.client import connect
from innosystem.customers.v1 import customer_service_pb2 as pb
from innosystem.customers.v1.customer_service_pb2_grpc import CustomerServiceStub
from tests.e2e.processes import LIMIT_SECONDS, Process
from tests.integration.kit.rpc.serving import ID
from tests.support.until import until_sync

# Nothing listens on port 1, so calls fail because the database is unavailable, which is enough here.
_NO_DATABASE = "postgresql://ada:hunter2@127.0.0.1:1/customers"

Start = Callable[..., Process]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts the customers service in two processes, in an empty folder, so that no `.env` is read."""
    started: list[Process] = []

    def start_one(*arguments: str, **settings: str) -> Process:
        environment = {
            "CUSTOMERS_DATABASE_URL": _NO_DATABASE,
            "CUSTOMERS_LISTEN_ADDRESS": "127.0.0.1:0",
            **settings,
        }
        one = Process("services.customers", *arguments, environment=environment, folder=tmp_path)
        started.append(one)
        return one

    yield start_one
    for one in started:
        pids = [line["pid"] for line in one.lines("process_serving")]
        one.kill()
        until_sync(lambda pids=pids: not any(map(alive, pids)))  # type: ignore[misc] # bound in the loop


def alive(pid: int) -> bool:
    """Whether a process has not ended; one that nobody has waited for has."""
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def pid_of(supervisor: Process, number: int) -> int:
    """The newest process with this number."""
    supervisor.logged("process_serving", process=number)
    return int(supervisor.lines("process_serving", process=number)[-1]["pid"])


def call(address: str) -> grpc.StatusCode:
    """Calls on a connection of its own."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(address, options=options) as channel, pytest.raises(grpc.RpcError) as caught:
        CustomerServiceStub(channel).GetCustomer(pb.GetCustomerRequest(customer_id=ID), timeout=LIMIT_SECONDS)
    code: grpc.StatusCode = caught.value.code()
    return code


def numbers_serving(supervisor: Process) -> set[int]:
    """Which processes have logged a call."""
    return {line["process"] for line in supervisor.lines("call")}


def until_served(supervisor: Process, address: str, numbers: set[int]) -> None:
    """Opens connections until all of these processes have served one."""

    def look() -> bool:
        assert call(address) == grpc.StatusCode.UNAVAILABLE
        return numbers_serving(supervisor) >= numbers

    until_sync(look)


def test_two_processes_serve_on_one_port_and_both_drain_when_the_supervisor_is_stopped(start: Start) -> None:
    supervisor = start("--processes", "2")
    serving = supervisor.logged("serving")
    # Each process writes its own lines, so theirs may come after the supervisor's.
    both = [supervisor.logged("process_serving", process=number) for number in (1, 2)]
    assert {line["address"] for line in both} == {serving["address"]}
    pids = {line["pid"] for line in both}
    assert len(pids | {supervisor.pid}) == 3

    until_served(supervisor, serving["address"], {1, 2})

    assert supervisor.stop() == 0
    assert not any(map(alive, pids))
    assert sorted(line["process"] for line in supervisor.lines("draining")) == [1, 2]
    assert [line.get("process") for line in supervisor.lines("stopped")][-1] is None
    assert len(supervisor.lines("serving")) == 1
    assert supervisor.errors == ""


def test_the_number_of_processes_is_a_setting_as_well_and_interrupts_end_all(start: Start) -> None:
    supervisor = start(CUSTOMERS_PROCESSES="3")
    assert supervisor.logged("serving")["processes"] == 3

    supervisor.send(signal.SIGINT)

    assert supervisor.wait() == 0
    assert sorted(line["process"] for line in supervisor.lines("draining")) == [1, 2, 3]


def test_one_process_has_no_supervisor(start: Start) -> None:
    alone = start("--processes", "1", CUSTOMERS_PROCESSES="2")

    assert "processes" not in alone.logged("serving")
    assert alone.stop() == 0
    assert alone.lines("process_serving") == []


async def test_channels_of_one_client_have_connections_of_their_own(start: Start) -> None:
    supervisor = start("--processes", "2")
    address = supervisor.logged("serving")["address"]
    opened: list[Any] = []
    until = time.monotonic() + LIMIT_SECONDS
    try:
        while numbers_serving(supervisor) != {1, 2}:
            assert time.monotonic() < until
            opened.append(connect(address, options=[("grpc.enable_retries", 0)]))
            with pytest.raises(grpc.aio.AioRpcError):
                await CustomerServiceStub(opened[-1]).GetCustomer(pb.GetCustomerRequest(customer_id=ID))
    finally:
        for channel in opened:
            await channel.close()


def test_a_killed_process_is_restarted_while_the_other_one_serves(start: Start) -> None:
    supervisor = start("--processes", "2")
    address = supervisor.logged("serving")["address"]
    first, second = pid_of(supervisor, 1), pid_of(supervisor, 2)

    os.kill(first, signal.SIGKILL)
    ended = supervisor.logged("process_ended")

    assert (ended["process"], ended["status"]) == (1, -signal.SIGKILL)
    assert call(address) == grpc.StatusCode.UNAVAILABLE
    until_sync(lambda: pid_of(supervisor, 1) != first)
    assert pid_of(supervisor, 2) == second
    before = len(supervisor.lines("call", process=1))

    def has_answered_again() -> bool:
        assert call(address) == grpc.StatusCode.UNAVAILABLE
        return len(supervisor.lines("call", process=1)) > before

    until_sync(has_answered_again)
    assert len(supervisor.lines("serving")) == 1
    assert supervisor.stop() == 0


def test_a_startup_error_of_one_process_ends_all_with_its_status(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        # The first process gets the port below the one that is taken, the second that one.
        supervisor = start("--processes", "2", CUSTOMERS_METRICS_LISTEN_ADDRESS=f"127.0.0.1:{port - 1}")

        assert supervisor.wait() == 2

    assert f"customers: can't serve metrics on 127.0.0.1:{port}" in supervisor.errors
    assert supervisor.lines("serving") == []
    assert supervisor.lines("process_ended_stopping_all", process=2, status=2)


def test_wrong_settings_and_taken_addresses_are_reported_once_before_any_start(
    start: Start,
) -> None:
    first = start("--processes", "2")
    address = first.logged("serving")["address"]

    second = start("--processes", "2", CUSTOMERS_LISTEN_ADDRESS=address)
    third = start("--processes", "0")

    assert (second.wait(), third.wait()) == (2, 2)
    assert second.errors.startswith(f"customers: can't listen on {address}")
    assert third.errors == "customers: --processes 0: there must be at least 1\n"
    assert second.output == third.output == ""


def test_processes_drain_when_their_supervisor_is_killed(start: Start) -> None:
    supervisor = start("--processes", "2")
    supervisor.logged("serving")
    pids = [pid_of(supervisor, number) for number in (1, 2)]

    supervisor.send(signal.SIGKILL)

    assert supervisor.wait() == -signal.SIGKILL
    until_sync(lambda: not any(map(alive, pids)))
    assert sorted(line["process"] for line in supervisor.lines("stopped")) == [1, 2]


def test_each_process_tells_its_metrics_at_a_port_of_its_own(start: Start) -> None:
    supervisor = start("--processes", "2", CUSTOMERS_METRICS_LISTEN_ADDRESS="127.0.0.1:0")
    supervisor.logged("serving")

    lines = supervisor.lines("metrics")

    assert {line["process"] for line in lines} == {1, 2}
    assert len({line["address"] for line in lines}) == 2
    assert supervisor.stop() == 0
