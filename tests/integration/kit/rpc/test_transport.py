"""TLS between real processes: who is let in, and what happens while certificates are renewed."""

import asyncio
import json
import socket
import ssl
import subprocess
import threading
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub

from innosystem.client import Transport, connect
from tests.integration.kit.rpc.serving import LIMIT_SECONDS
from tests.integration.kit.rpc.test_process import process
from tests.support.certificates import Certificates
from tests.support.until import until

_SETTINGS = {"CUSTOMERS_DATABASE_URL": "postgresql://ada@127.0.0.1:1/customers", "LOG_FORMAT": "json"}


class Service:
    """The customers service as a process, without a database: its health service responds all the same."""

    def __init__(self, started: subprocess.Popen[str]) -> None:
        self._started = started
        self._lines: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()
        self.address = self.logged("serving")["address"]

    def _read(self) -> None:
        assert self._started.stdout is not None
        for text in self._started.stdout:
            with self._changed:
                self._lines.append(json.loads(text))
                self._changed.notify_all()

    def lines(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self._lines if line["event"] == event]

    def logged(self, event: str, count: int = 1) -> dict[str, Any]:
        """Wait until an event was logged so many times, and return the last."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.lines(event)) >= count, LIMIT_SECONDS), (
                self._lines,
                self._started.poll() and self._started.stderr and self._started.stderr.read(),
            )
            return self.lines(event)[count - 1]


@contextmanager
def serving(folder: Path, **settings: str) -> Iterator[Service]:
    with process(folder, **{**_SETTINGS, "CUSTOMERS_LISTEN_ADDRESS": "127.0.0.1:0", **settings}) as started:
        yield Service(started)


async def check(address: str, transport: Transport, **how: Any) -> str:
    """Call once; return the code."""
    async with connect(address, transport=transport) as channel:
        return await _check(channel, **how)


async def _check(channel: grpc.aio.Channel, **how: Any) -> str:
    call = HealthStub(channel).Check(HealthCheckRequest(), timeout=LIMIT_SECONDS, **how)  # type: ignore[attr-defined]
    return str((await call.code()).name)


async def _call_until(channel: grpc.aio.Channel, condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_SECONDS):
        while not condition():
            assert await _check(channel) == "OK"


@pytest.fixture(scope="module")
def authorities() -> tuple[trustme.CA, trustme.CA]:
    """The authority of services, and that of callers."""
    return trustme.CA(key_type=trustme.KeyType.ECDSA), trustme.CA(key_type=trustme.KeyType.ECDSA)


@pytest.fixture
def server(tmp_path: Path, authorities: tuple[trustme.CA, trustme.CA]) -> Certificates:
    return Certificates(tmp_path / "server", authorities[0], trusted=authorities[1])


@pytest.fixture
def client(tmp_path: Path, authorities: tuple[trustme.CA, trustme.CA]) -> Certificates:
    return Certificates(tmp_path / "client", authorities[1], trusted=authorities[0], names=("a-runner",))


async def test_a_service_that_demands_certificates_takes_good_ones_and_refuses_all_others(
    tmp_path: Path, server: Certificates, client: Certificates
) -> None:
    with serving(tmp_path, **server.server()) as service:
        assert await check(service.address, Transport.of(client.client())) == "OK"
        assert await check(service.address, Transport.of(client.client(known=False))) == "UNAVAILABLE"
        assert await check(service.address, Transport()) == "UNAVAILABLE"

        client.expire()
        assert await check(service.address, Transport.of(client.client())) == "UNAVAILABLE"
        client.renew(trustme.CA())
        assert await check(service.address, Transport.of(client.client())) == "UNAVAILABLE"
        client.renew()
        assert await check(service.address, Transport.of(client.client())) == "OK"


async def test_a_client_refuses_a_service_of_another_authority_an_expired_one_and_one_of_another_name(
    tmp_path: Path, server: Certificates, client: Certificates, authorities: tuple[trustme.CA, trustme.CA]
) -> None:
    with serving(tmp_path, **server.server(demanding=False)) as service:
        anonymous = client.client(known=False)
        assert await check(service.address, Transport.of(anonymous)) == "OK"
        named = Transport.of(anonymous | {"INNOSYSTEM_TLS_SERVER_NAME": "jobs.example.com"})
        assert await check(service.address, named) == "UNAVAILABLE"

        server.names = ("jobs.example.com",)
        server.renew()
        assert await check(service.address, Transport.of(anonymous)) == "UNAVAILABLE"
        assert await check(service.address, named) == "OK"

        server.expire()
        assert await check(service.address, named) == "UNAVAILABLE"
        server.renew(trustme.CA())
        assert await check(service.address, named) == "UNAVAILABLE"


class Load:
    """Calls without a pause on one channel, while certificates are renewed.

    Attributes:
        codes: How the calls ended.
        renewed: What the client's files have reported.
    """

    def __init__(self, service: Service, client: Certificates) -> None:
        self._service = service
        self._client = client
        self.codes: list[str] = []
        self.renewed: list[str] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        transport = replace(Transport.of(self._client.client()), report=self.renewed.append)
        async with connect(self._service.address, transport=transport) as channel, asyncio.TaskGroup() as calling:
            calls = [calling.create_task(self._call_repeatedly(channel)) for _ in range(4)]
            yield
            for each in calls:
                each.cancel()

    async def _call_repeatedly(self, channel: grpc.aio.Channel) -> None:
        while True:
            self.codes.append(await _check(channel))

    async def until_renewed(self, times: int) -> None:
        """Wait until both sides have renewed their files so many times, and a hundred calls more."""
        await asyncio.to_thread(self._service.logged, "tls_files_renewed", times)
        await self.until_more(times)

    async def until_more(self, times: int) -> None:
        """Wait until the client has renewed its files so many times, and a hundred calls more."""
        await until(lambda: len(self.renewed) >= times, limit_seconds=LIMIT_SECONDS)
        calls = len(self.codes) + 100
        await until(lambda: len(self.codes) >= calls, limit_seconds=LIMIT_SECONDS)
        assert set(self.codes) == {"OK"}
        assert set(self.renewed) == {""}


async def test_certificates_of_both_sides_are_renewed_under_load_without_a_failed_call(
    tmp_path: Path, server: Certificates, client: Certificates
) -> None:
    with serving(tmp_path, **server.server(), CUSTOMERS_CONNECTION_AGE_SECONDS="0.5") as service:
        load = Load(service, client)
        async with load.running():
            for number in range(1, 6):
                server.renew()
                client.renew()
                await load.until_renewed(number)
                assert await asyncio.to_thread(_served, service.address) == _leaf(server)


def _served(address: str) -> bytes:
    """The certificate that a service shows."""
    host, _, port = address.rpartition(":")
    return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((host, int(port)), timeout=LIMIT_SECONDS))


def _leaf(files: Certificates) -> bytes:
    end = "-----END CERTIFICATE-----"
    return ssl.PEM_cert_to_DER_cert(files.certificate_file.read_text().partition(end)[0] + end)


async def test_a_certificate_that_the_service_does_not_accept_costs_no_call_while_the_old_connection_stands(
    tmp_path: Path, server: Certificates, client: Certificates
) -> None:
    with serving(tmp_path, **server.server()) as service:
        load = Load(service, client)
        async with load.running():
            client.renew(trustme.CA())
            await load.until_more(times=1)
            client.renew()
            await load.until_more(times=2)


async def test_both_authorities_are_replaced_under_load_without_a_failed_call(
    tmp_path: Path, server: Certificates, client: Certificates
) -> None:
    """In the usual order: each side trusts the new authority beside the old one before a certificate of it is used."""
    new = trustme.CA(key_type=trustme.KeyType.ECDSA)
    with serving(tmp_path, **server.server(), CUSTOMERS_CONNECTION_AGE_SECONDS="0.5") as service:
        load = Load(service, client)
        async with load.running():
            for side in (server, client):
                side.renew(trusted=(side.trusted, new))
            await load.until_renewed(1)
            for side in (server, client):
                side.renew(new, trusted=(side.trusted, new))
            await load.until_renewed(2)
            for side in (server, client):
                side.renew(new, trusted=(new,))
            await load.until_renewed(3)
        client.renew(client.ca, trusted=(new,))
        assert await check(service.address, Transport.of(client.client())) == "UNAVAILABLE"


async def test_a_stream_outlives_the_renewal_of_its_certificates(
    tmp_path: Path, server: Certificates, client: Certificates
) -> None:
    with serving(tmp_path, **server.server(), CUSTOMERS_CONNECTION_AGE_SECONDS="0.5") as service:
        async with connect(service.address, transport=Transport.of(client.client())) as channel:
            watch = HealthStub(channel).Watch(HealthCheckRequest())  # type: ignore[attr-defined]
            await watch.read()
            client.renew()
            server.renew()
            await _call_until(channel, lambda: bool(service.lines("tls_files_renewed")))
            assert not watch.done()
            watch.cancel()


async def test_a_broken_renewal_keeps_the_old_certificate_says_so_once_and_counts(
    tmp_path: Path, server: Certificates, client: Certificates
) -> None:
    with serving(tmp_path, **server.server(), CUSTOMERS_METRICS_LISTEN_ADDRESS="127.0.0.1:0") as service:
        transport = Transport.of(client.client())
        server.key_file.write_text("no key")
        for _ in range(3):
            assert await check(service.address, transport) == "OK"
        refused = service.logged("tls_files_not_renewed")
        assert refused["level"] == "error"
        assert "tls.key" in refused["error"]
        server.renew()
        assert await check(service.address, transport) == "OK"
        service.logged("tls_files_renewed")
        assert len(service.lines("tls_files_not_renewed")) == 1

        url = f"http://{service.logged('metrics')['address']}/metrics"
        text = await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=LIMIT_SECONDS).read().decode())
    assert 'innosystem_tls_renewals_total{outcome="refused",side="server"} 1.0' in text
    assert 'innosystem_tls_renewals_total{outcome="used",side="server"} 1.0' in text


async def test_metrics_are_served_by_tls_with_the_newest_certificate_and_not_without(
    tmp_path: Path, server: Certificates, client: Certificates
) -> None:
    settings = {"CUSTOMERS_METRICS_LISTEN_ADDRESS": "127.0.0.1:0", "INNOSYSTEM_TLS_METRICS": "true"}
    with serving(tmp_path, **server.server(), **settings) as service:
        address = service.logged("metrics")["address"]
        host, _, port = address.rpartition(":")
        trusting = ssl.create_default_context(cafile=str(client.ca_file))

        def shown() -> bytes | None:
            with (
                socket.create_connection((host, int(port)), LIMIT_SECONDS) as plain,
                trusting.wrap_socket(plain, server_hostname=host) as encrypted,
            ):
                encrypted.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
                assert b"200 OK" in encrypted.recv(1000)
                return encrypted.getpeercert(binary_form=True)

        # A client that says nothing holds up nobody.
        with socket.create_connection((host, int(port)), LIMIT_SECONDS):
            first = await asyncio.to_thread(shown)
            server.renew()
            assert await asyncio.to_thread(shown) != first
        with pytest.raises(OSError, match=r".*"):
            await asyncio.to_thread(lambda: urllib.request.urlopen(f"http://{address}/", timeout=LIMIT_SECONDS).read())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"CUSTOMERS_LISTEN_ADDRESS": "0.0.0.0:0"}, "would not be encrypted: set INNOSYSTEM_TLS_CERTIFICATE_FILE"),
        ({"INNOSYSTEM_PLAINTEXT": "yes"}, "INNOSYSTEM_PLAINTEXT: Input should be '' or 'allow'"),
        ({"INNOSYSTEM_TLS_CERTIFICATE_FILE": "/nowhere.crt"}, "/nowhere.crt: a certificate needs its key"),
        (
            {"INNOSYSTEM_TLS_CERTIFICATE_FILE": "/nowhere.crt", "INNOSYSTEM_TLS_KEY_FILE": "/nowhere.key"},
            "/nowhere.crt can't be read: No such file or directory",
        ),
        ({"INNOSYSTEM_TLS_CLIENT_CA_FILE": "/ca.crt"}, "TLS needs INNOSYSTEM_TLS_CERTIFICATE_FILE"),
    ],
)
def test_a_service_does_not_start_without_the_protection_that_it_needs(
    tmp_path: Path, settings: dict[str, str], said: str
) -> None:
    with process(tmp_path, **_SETTINGS, **{"CUSTOMERS_LISTEN_ADDRESS": "127.0.0.1:0", **settings}) as started:
        _, err = started.communicate(timeout=3 * LIMIT_SECONDS)
    assert started.returncode == 2
    assert said in err
    assert len(err.splitlines()) == 1


async def test_plaintext_that_is_allowed_is_served_to_other_machines_with_one_warning(tmp_path: Path) -> None:
    settings = {"CUSTOMERS_LISTEN_ADDRESS": "0.0.0.0:0", "INNOSYSTEM_PLAINTEXT": "allow"}
    with process(tmp_path, **_SETTINGS, **settings) as started:
        service = Service(started)
        port = service.address.rpartition(":")[2]
        assert await check(f"127.0.0.1:{port}", Transport()) == "OK"
        assert len(service.lines("plaintext_allowed")) == 1
        assert service.lines("plaintext_allowed")[0]["level"] == "warning"


async def test_a_connection_without_a_handshake_is_closed_and_holds_up_nobody(
    tmp_path: Path, server: Certificates, client: Certificates
) -> None:
    with serving(tmp_path, **server.server()) as service:
        host, _, port = service.address.rpartition(":")
        with socket.create_connection((host, int(port))) as silent:
            assert await check(service.address, Transport.of(client.client())) == "OK"
            silent.settimeout(15)
            assert await asyncio.to_thread(silent.recv, 1) == b""


async def test_connections_beyond_the_maximum_are_refused_until_others_are_closed(tmp_path: Path) -> None:
    with serving(tmp_path, CUSTOMERS_CONNECTIONS_MAX="2") as service:
        async with connect(service.address, transport=Transport()) as first:
            assert await _check(first) == "OK"
            async with connect(service.address, transport=Transport()) as second:
                assert await _check(second) == "OK"
                assert await check(service.address, Transport()) == "UNAVAILABLE"
            async with connect(service.address, transport=Transport()) as third:
                # It is let in once the server has noticed the end of the second.
                assert await _check(third, wait_for_ready=True) == "OK"


async def test_a_client_that_pings_without_end_is_sent_away(tmp_path: Path) -> None:
    ping = b"\x00\x00\x08\x06\x00\x00\x00\x00\x00" + b"\x00" * 8
    with serving(tmp_path) as service:
        host, _, port = service.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00" + ping * 10)
        async with asyncio.timeout(LIMIT_SECONDS):
            said = await reader.read()
        writer.close()
    assert b"too_many_pings" in said
