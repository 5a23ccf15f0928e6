"""Outbound calls reach allowed hosts at permitted addresses only, and always end, with a real server."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import trustme

from innosystem.runner import JobError
from innosystem.runner.outbound.addresses import parse_network
from innosystem.runner.outbound.allowed_hosts import AllowedHost, AllowedHosts
from innosystem.runner.outbound.client import OutboundClient
from innosystem.runner.outbound.messages import OutboundRequest, OutboundResponse
from tests.support.http_endpoint import RunningEndpoint, running_endpoint

LOOPBACK = [parse_network("127.0.0.0/8")]


class Names:
    """A resolver with addresses for each question: those of a host, one list after the other."""

    def __init__(self, **hosts: Sequence[Sequence[str]]) -> None:
        self.hosts = {name.replace("_", "."): [list(one) for one in lists] for name, lists in hosts.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        lists = self.hosts.get(host, [[host]])
        return lists.pop(0) if len(lists) > 1 else lists[0]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[RunningEndpoint]:
    with running_endpoint() as running:
        yield running


class Clients:
    """Opens clients and closes them."""

    def __init__(self) -> None:
        self.opened: list[OutboundClient] = []

    def open(self, *hosts: str, **more: Any) -> OutboundClient:
        client = OutboundClient(AllowedHosts(map(AllowedHost.parse, hosts)), **({"networks": LOOPBACK} | more))
        self.opened.append(client)
        return client


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    clients = Clients()
    yield clients
    for client in clients.opened:
        await client.aclose()


async def call(client: OutboundClient, url: str, method: str = "GET", **more: Any) -> OutboundResponse:
    return await client.send(OutboundRequest(method, httpx.URL(url), **more), timeout_seconds=20)


async def failure(client: OutboundClient, url: str, method: str = "GET", **more: Any) -> JobError:
    with pytest.raises(JobError) as raised:
        await call(client, url, method, **more)
    return raised.value


def redirect(endpoint: RunningEndpoint, to: str, status: int = 307, host: str = "127.0.0.1") -> str:
    return endpoint.url(f"/redirect/{status}?to={quote(to, safe='')}", host)


async def test_a_call_brings_status_headers_and_body(clients: Clients, endpoint: RunningEndpoint) -> None:
    client = clients.open(f"http://127.0.0.1:{endpoint.port}")
    response = await call(
        client, endpoint.url("/echo?a=%2F"), "POST", headers={"A": "1"}, secret_headers={"B": "2"}, content=b'{"x": 1}'
    )

    seen = json.loads(response.content)
    assert (response.status, response.headers["Content-Type"]) == (200, "application/json")
    assert (seen["method"], seen["path"], seen["body"]) == ("POST", "/echo?a=%2F", '{"x": 1}')
    assert seen["headers"] == {
        "Host": f"127.0.0.1:{endpoint.port}",
        "Accept-Encoding": "identity",
        "Content-Length": "8",
        "A": "1",
        "B": "2",
    }
    assert (await call(client, endpoint.url("/status/503"))).status == 503


async def test_proxies_of_the_environment_are_not_used(
    clients: Clients, endpoint: RunningEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    assert (await call(clients.open(f"http://127.0.0.1:{endpoint.port}"), endpoint.url("/echo"))).status == 200


async def test_a_host_that_is_not_on_the_list_is_not_even_resolved(clients: Clients, endpoint: RunningEndpoint) -> None:
    names = Names()
    error = await failure(clients.open("api.example.com", resolve=names), endpoint.url("/echo", "other.example"))

    assert error.type == "HOST_NOT_ALLOWED"
    assert error.message == f"RUNNER_HTTP_ALLOWED_HOSTS does not allow http://other.example:{endpoint.port}"
    assert not names.asked


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "10.0.0.1", "169.254.169.254", "0.0.0.0", "fd00:ec2::254"]
)
async def test_an_allowed_host_with_a_private_address_is_not_called(
    address: str, clients: Clients, endpoint: RunningEndpoint
) -> None:
    names = Names(api_example_com=[[address]])
    client = clients.open(f"http://*:{endpoint.port}", networks=(), resolve=names)
    before = len(endpoint.requests())

    assert (await failure(client, endpoint.url("/echo", "api.example.com"))).type == "ADDRESS_NOT_ALLOWED"
    assert len(endpoint.requests()) == before


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "127.1", "[::ffff:7f00:1]"])
async def test_no_spelling_of_this_machine_gets_around_the_check(
    host: str, clients: Clients, endpoint: RunningEndpoint
) -> None:
    """With the machine's own resolver, which understands most of them."""
    client = clients.open(f"http://*:{endpoint.port}", networks=())
    before = len(endpoint.requests())

    assert (await failure(client, endpoint.url("/echo", host))).type in ("ADDRESS_NOT_ALLOWED", "CONNECTION_FAILED")
    assert len(endpoint.requests()) == before


async def test_a_name_that_changes_between_check_and_connection_is_asked_once(
    clients: Clients, endpoint: RunningEndpoint
) -> None:
    """The first address is the permitted one. It is connected to, and nothing resolves the name again."""
    names = Names(api_example_com=[["127.0.0.1"], ["10.0.0.1"]])
    client = clients.open(f"http://api.example.com:{endpoint.port}", resolve=names)

    seen = json.loads((await call(client, endpoint.url("/echo", "api.example.com"))).content)
    assert seen["headers"]["Host"] == f"api.example.com:{endpoint.port}"
    assert names.asked == ["api.example.com"]

    await client.aclose()
    again = clients.open(f"http://api.example.com:{endpoint.port}", resolve=names)
    assert (await failure(again, endpoint.url("/echo", "api.example.com"))).type == "ADDRESS_NOT_ALLOWED"


async def test_only_the_permitted_ones_of_several_addresses_are_tried(
    clients: Clients, endpoint: RunningEndpoint
) -> None:
    names = Names(api_example_com=[["10.0.0.1", "127.0.0.9", "127.0.0.1"]])
    client = clients.open(f"http://api.example.com:{endpoint.port}", resolve=names)

    assert (await call(client, endpoint.url("/echo", "api.example.com"))).status == 200


async def test_a_redirect_to_an_allowed_host_is_followed_without_secrets(
    clients: Clients, endpoint: RunningEndpoint
) -> None:
    names = Names(a_example=[["127.0.0.1"]], b_example=[["127.0.0.1"]])
    client = clients.open(f"http://*.example:{endpoint.port}", f"http://127.0.0.1:{endpoint.port}", resolve=names)
    given = {"headers": {"A": "1"}, "secret_headers": {"Authorization": "Bearer s"}, "content": b"{}"}

    same = redirect(endpoint, "/echo", host="a.example")
    seen = json.loads((await call(client, same, "POST", **given)).content)
    assert (seen["method"], seen["body"], seen["headers"]["Authorization"]) == ("POST", "{}", "Bearer s")

    other = redirect(endpoint, endpoint.url("/echo", "b.example"), host="a.example")
    seen = json.loads((await call(client, other, "POST", **given)).content)
    assert (seen["method"], seen["body"], seen["headers"]["A"]) == ("POST", "{}", "1")
    assert "Authorization" not in seen["headers"]

    back = redirect(
        endpoint, redirect(endpoint, endpoint.url("/echo", "a.example"), host="b.example"), host="a.example"
    )
    assert "Authorization" not in json.loads((await call(client, back, "POST", **given)).content)["headers"]


async def test_a_redirect_to_what_may_not_be_called_is_not_followed(
    clients: Clients, endpoint: RunningEndpoint
) -> None:
    names = Names(a_example=[["127.0.0.1"]], inside_example=[["10.0.0.1"]], localhost=[["127.0.0.1"]])
    client = clients.open(f"http://*.example:{endpoint.port}", resolve=names)

    async def type_of(to: str, status: int = 302) -> str:
        return (await failure(client, redirect(endpoint, to, status, "a.example"))).type

    before = len(endpoint.requests())
    assert await type_of(endpoint.url("/echo", "inside.example")) == "ADDRESS_NOT_ALLOWED"
    assert await type_of(endpoint.url("/echo", "localhost")) == "HOST_NOT_ALLOWED"
    assert await type_of("http://169.254.169.254/latest/meta-data") == "HOST_NOT_ALLOWED"
    for to in ("file://a.example/document", "gopher://a.example/", endpoint.url("/echo", "u:p@a.example")):
        assert await type_of(to) == "REDIRECT_REFUSED", to
    assert [one["path"].split("?")[0] for one in endpoint.requests()[before:]] == ["/redirect/302"] * 6


async def test_only_see_other_turns_a_request_with_a_body_into_get(clients: Clients, endpoint: RunningEndpoint) -> None:
    client = clients.open(f"http://127.0.0.1:{endpoint.port}")
    given = {"content": b"{}", "headers": {"Content-Type": "application/json", "A": "1"}}

    seen = json.loads((await call(client, redirect(endpoint, "/echo", 303), "POST", **given)).content)
    assert (seen["method"], seen["body"], seen["headers"]["A"]) == ("GET", "", "1")
    assert not {"Content-Type", "Content-Length"} & seen["headers"].keys()
    error = await failure(client, redirect(endpoint, "/echo", 302), "POST", **given)
    assert (error.type, error.retryable) == ("REDIRECT_REFUSED", False)
    assert (await call(client, redirect(endpoint, "/echo", 302))).status == 200


async def test_redirects_in_a_circle_end(clients: Clients, endpoint: RunningEndpoint) -> None:
    client = clients.open(f"http://127.0.0.1:{endpoint.port}")

    error = await failure(client, endpoint.url("/circle"))
    assert (error.type, error.message) == ("REDIRECT_REFUSED", "The endpoint redirects more than 5 times")


@pytest.mark.parametrize("path", ["/slow/30", "/trickle"])
async def test_a_call_ends_at_its_time_limit(path: str, clients: Clients, endpoint: RunningEndpoint) -> None:
    client = clients.open(f"http://127.0.0.1:{endpoint.port}")
    began = time.monotonic()

    with pytest.raises(JobError) as raised:
        await client.send(OutboundRequest("GET", httpx.URL(endpoint.url(path))), timeout_seconds=0.5)

    assert (raised.value.type, raised.value.retryable) == ("ENDPOINT_TIMEOUT", True)
    assert time.monotonic() - began < 10


async def test_a_name_that_is_never_resolved_ends_the_call_as_well(clients: Clients) -> None:
    async def never(host: str, port: int) -> Sequence[str]:
        found: Sequence[str] = await asyncio.get_running_loop().create_future()
        return found

    client = clients.open("api.example.com", resolve=never)
    with pytest.raises(JobError) as raised:
        await client.send(OutboundRequest("GET", httpx.URL("https://api.example.com/")), timeout_seconds=0.2)

    assert raised.value.type == "ENDPOINT_TIMEOUT"


async def test_a_response_that_is_too_large_or_compressed_is_refused(
    clients: Clients, endpoint: RunningEndpoint
) -> None:
    client = clients.open(f"http://127.0.0.1:{endpoint.port}", response_bytes_max=1000)

    assert len((await call(client, endpoint.url("/huge/1000"))).content) == 1000
    large = await failure(client, endpoint.url("/huge/50000000"))
    assert (large.type, large.retryable) == ("RESPONSE_TOO_LARGE", False)
    assert (await failure(client, endpoint.url("/gzip"))).type == "RESPONSE_COMPRESSED"
    assert (await call(client, endpoint.url("/echo"))).status == 200


async def test_a_server_that_is_not_there_or_hangs_up_is_worth_another_attempt(
    clients: Clients, endpoint: RunningEndpoint
) -> None:
    client = clients.open("http://*:9", f"http://*:{endpoint.port}", "nowhere.invalid")

    for url in ("http://127.0.0.1:9/", endpoint.url("/close"), "https://nowhere.invalid/"):
        error = await failure(client, url)
        assert (error.type, error.retryable) == ("CONNECTION_FAILED", True), url


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


@pytest.fixture(scope="module")
def tls_endpoint(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEndpoint]:
    certificate = tmp_path_factory.mktemp("tls") / "certificate.pem"
    authority.issue_cert(
        "api.example.com", key_type=trustme.KeyType.ECDSA
    ).private_key_and_cert_chain_pem.write_to_path(certificate)
    with running_endpoint(certificate) as running:
        yield running


async def test_the_certificate_must_be_for_the_name_and_signed_by_a_known_authority(
    clients: Clients, tls_endpoint: RunningEndpoint, authority: trustme.CA, tmp_path: Path
) -> None:
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca_file)
    names = Names(api_example_com=[["127.0.0.1"]], other_example_com=[["127.0.0.1"]])
    host = f"*.example.com:{tls_endpoint.port}"
    knowing = clients.open(host, resolve=names, ca_file=str(ca_file))
    right, wrong = (tls_endpoint.url("/echo", f"{name}.example.com", "https") for name in ("api", "other"))

    seen = json.loads((await call(knowing, right)).content)
    assert seen["headers"]["Host"] == f"api.example.com:{tls_endpoint.port}"
    for client, url in ((knowing, wrong), (clients.open(host, resolve=names), right)):
        error = await failure(client, url)
        assert error.type == "CONNECTION_FAILED"
        assert "certificate" in error.message.lower()


async def test_a_redirect_from_https_to_http_is_not_followed(
    clients: Clients, tls_endpoint: RunningEndpoint, endpoint: RunningEndpoint, authority: trustme.CA, tmp_path: Path
) -> None:
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca_file)
    names = Names(api_example_com=[["127.0.0.1"]])
    hosts = (f"api.example.com:{tls_endpoint.port}", f"http://127.0.0.1:{endpoint.port}")
    client = clients.open(*hosts, resolve=names, ca_file=str(ca_file))
    url = tls_endpoint.url(f"/redirect/302?to={quote(endpoint.url('/echo'), safe='')}", "api.example.com", "https")

    error = await failure(client, url)
    assert (error.type, error.message) == (
        "REDIRECT_REFUSED",
        "The endpoint redirects with status 302 from HTTPS to HTTP",
    )
