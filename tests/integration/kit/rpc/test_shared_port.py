"""The port that several processes listen on."""

import socket

import pytest

from services.kit.rpc.serving.shared_port import shared_port
from services.kit.settings import StartupError


def listener(*, shared: bool, port: int = 0) -> socket.socket:
    one = socket.socket()
    if shared:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    one.bind(("127.0.0.1", port))
    one.listen()
    return one


def test_a_free_port_is_chosen_on_which_several_can_listen_and_all_connections_reach_them() -> None:
    with shared_port("127.0.0.1:0", exclusive=True) as address:
        port = int(address.rpartition(":")[2])
        with listener(shared=True, port=port) as first, listener(shared=True, port=port) as second:
            first.setblocking(False)
            second.setblocking(False)
            clients = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(40)]
            accepted = sum(_accepted(one) for one in (first, second))
            for client in clients:
                client.close()

    assert accepted == 40


def _accepted(server: socket.socket) -> int:
    count = 0
    while True:
        try:
            connection, _ = server.accept()
        except BlockingIOError:
            return count
        connection.close()
        count += 1


@pytest.mark.parametrize("shared", [False, True])
def test_a_port_with_another_listener_is_refused_even_if_it_could_be_shared(shared: bool) -> None:
    with listener(shared=shared) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(StartupError, match=f"can't listen on {address}"), shared_port(address, exclusive=True):
            pass


def test_a_port_is_shared_with_who_listens_there_already_where_that_is_wanted() -> None:
    with listener(shared=True) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with shared_port(address, exclusive=False) as found:
            assert found == address


@pytest.mark.parametrize("address", ["unix:/tmp/service", "127.0.0.1", ":50051", "127.0.0.1:http", "127.0.0.1:99999"])
def test_what_is_no_host_and_port_can_not_be_shared(address: str) -> None:
    with pytest.raises(StartupError, match="host:port"), shared_port(address, exclusive=True):
        pass


def test_an_unknown_host_name_is_reported() -> None:
    address = "host.invalid:50051"
    with pytest.raises(StartupError, match=f"can't listen on {address}: "), shared_port(address, exclusive=True):
        pass
