"""A service as a process: what it writes, how it ends."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from innosystem.client import error_from
from innosystem.customers.v1 import customer_service_pb2 as pb
from innosystem.customers.v1.customer_service_pb2_grpc import CustomerServiceStub
from tests.integration.kit.rpc.serving import ID, LIMIT_SECONDS

_ROOT = Path(__file__).parents[4]
# Nobody listens on port 1, so that the database is down from the start.
_NO_DATABASE = "postgresql://ada:hunter2@127.0.0.1:1/customers"


def environment(**values: str) -> dict[str, str]:
    ours = ("CUSTOMERS_", "LOG_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**inherited, "PYTHONPATH": str(_ROOT), "PYTHONUNBUFFERED": "1", **values}


@contextmanager
def process(folder: Path, **values: str) -> Iterator[subprocess.Popen[str]]:
    """Starts the customers service in an empty folder, so that no `.env` is read."""
    with subprocess.Popen(
        [sys.executable, "-m", "services.customers"],
        cwd=folder,
        env=environment(**values),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as started:
        try:
            yield started
        finally:
            started.kill()


def until_serving(started: subprocess.Popen[str]) -> dict[str, Any]:
    return until_logged(started, "serving")


def until_logged(started: subprocess.Popen[str], event: str) -> dict[str, Any]:
    assert started.stdout is not None
    for text in started.stdout:
        line: dict[str, Any] = json.loads(text)
        if line["event"] == event:
            return line
    pytest.fail(f"it did not start: {started.stderr.read() if started.stderr else ''}")


def test_a_missing_setting_is_one_clear_line_and_exit_status_2(tmp_path: Path) -> None:
    with process(tmp_path) as started:
        out, err = started.communicate(timeout=LIMIT_SECONDS)

    assert (started.returncode, out) == (2, "")
    assert err == "customers: CUSTOMERS_DATABASE_URL is not set\n"


def test_an_address_in_use_is_reported_with_exit_status_2(tmp_path: Path) -> None:
    values = {"CUSTOMERS_DATABASE_URL": _NO_DATABASE}
    with process(tmp_path, **values, CUSTOMERS_LISTEN_ADDRESS="127.0.0.1:0") as first:
        address = until_serving(first)["address"]
        with process(tmp_path, **values, CUSTOMERS_LISTEN_ADDRESS=address) as second:
            _, err = second.communicate(timeout=LIMIT_SECONDS)

    assert second.returncode == 2
    assert f"customers: can't listen on {address}" in err.splitlines()[-1]
    assert "Traceback" not in err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_process_serves_without_its_database_and_ends_well_when_stopped(
    tmp_path: Path, number: signal.Signals
) -> None:
    values = {"CUSTOMERS_DATABASE_URL": _NO_DATABASE, "CUSTOMERS_LISTEN_ADDRESS": "127.0.0.1:0"}
    with process(tmp_path, **values) as started:
        serving = until_serving(started)
        missing = until_logged(started, "dependency_down")
        with grpc.insecure_channel(serving["address"]) as channel, pytest.raises(grpc.RpcError) as caught:
            CustomerServiceStub(channel).GetCustomer(pb.GetCustomerRequest(customer_id=ID), timeout=LIMIT_SECONDS)
        started.send_signal(number)
        out, err = started.communicate(timeout=LIMIT_SECONDS)

    details = error_from(caught.value)
    assert details is not None
    assert (details.code, details.reason) == (grpc.StatusCode.UNAVAILABLE, "DATABASE_UNAVAILABLE")
    assert (started.returncode, err) == (0, "")
    lines = [json.loads(line) for line in out.splitlines()]
    # The line of a call is written after its response is sent, so it may come after the signal.
    assert [line["event"] for line in lines if line["event"] != "call"][-2:] == ["draining", "stopped"]
    assert {line["service"] for line in [serving, *lines]} == {"customers"}
    [call] = [line for line in lines if line["event"] == "call"]
    assert call["reason"] == "DATABASE_UNAVAILABLE"
    assert missing["required"] is True
    assert "dependency_down" not in {line["event"] for line in lines}
    assert "hunter2" not in out


@pytest.mark.parametrize("output", ["its reader has gone", "its reader has stopped reading", "its disk is full"])
def test_a_service_whose_output_fails_still_serves_calls(tmp_path: Path, output: str) -> None:
    socket = f"unix:{tmp_path}/customers.sock"
    values = {"CUSTOMERS_DATABASE_URL": _NO_DATABASE, "CUSTOMERS_LISTEN_ADDRESS": socket}
    reader, writer = os.pipe()
    if output == "its reader has gone":
        os.close(reader)
    target = os.open("/dev/full", os.O_WRONLY) if output == "its disk is full" else writer
    with subprocess.Popen(
        [sys.executable, "-m", "services.customers"],
        cwd=tmp_path,
        env=environment(**values),
        stdout=target,
        stderr=target,
    ) as started:
        try:
            with grpc.insecure_channel(socket) as channel:
                grpc.channel_ready_future(channel).result(LIMIT_SECONDS)
                get = CustomerServiceStub(channel).GetCustomer
                # Some hundred bytes a line: more than a pipe holds.
                calls = [get.future(pb.GetCustomerRequest(customer_id=ID), timeout=LIMIT_SECONDS) for _ in range(400)]
                codes = {call.code() for call in calls}
            assert codes == {grpc.StatusCode.UNAVAILABLE}
            started.terminate()
            assert started.wait(LIMIT_SECONDS) == 0
        finally:
            started.kill()
