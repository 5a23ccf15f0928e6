"""Keys come from files and addresses; one that is unavailable, slow or wrong leaves the last good keys in use."""

import asyncio
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme

from services.kit.auth import sources
from services.kit.auth.principal import Principal
from services.kit.auth.sources import UP, Source, SourceError, check_address, fetch
from services.kit.auth.tokens import SignedTokens
from services.kit.errors import BadCredentials, DependencyUnavailable
from tests.support.tokens import claims, key_set, new_key, signed, verifier

RESPONSE = b'{"keys": []}'
Respond = Callable[[BaseHTTPRequestHandler], None]


def send_keys(handler: BaseHTTPRequestHandler, body: bytes = RESPONSE) -> None:
    handler.send_response(200)
    handler.send_header("content-length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


@contextmanager
def issuer(response: Respond, context: ssl.SSLContext | None = None) -> Iterator[tuple[str, list[str]]]:
    """An issuer on this machine: its address, and the authorization of each request."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers.get("authorization", ""))
            with suppress(OSError):
                response(self)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http{'s' * bool(context)}://localhost:{server.server_port}/keys", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    "url",
    ["http://issuer.example/keys", "ftp://localhost/keys", "file://keys.example/keys", "http://", "https:///keys",
     "https://ada@issuer.example/", "https://ada:secret@issuer.example/", "http://127.0.0.1.example/",
     "http://10.0.0.1/", "http://localhost.example/", "gopher://127.0.0.1/"],
)  # fmt: skip
def test_an_address_whose_response_could_be_replaced_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        check_address(url)


@pytest.mark.parametrize(
    "url", ["https://issuer.example/keys?x=1", "http://localhost:8000/", "http://127.0.0.1/", "http://[::1]:80/keys"]
)
def test_https_and_this_machine_are_good(url: str) -> None:
    check_address(url)


def test_an_respond_is_read() -> None:
    with issuer(send_keys) as (url, asked):
        assert fetch(url) == RESPONSE
    assert asked == [""]


def test_a_token_for_the_address_is_read_from_its_file_each_time(tmp_path: Path) -> None:
    file = tmp_path / "token"
    with issuer(send_keys) as (url, asked):
        for token in ("first", "second"):
            file.write_text(token + "\n")
            fetch(url, token_file=str(file))
    assert asked == ["Bearer first", "Bearer second"]


def test_the_certificate_of_an_address_is_verified(tmp_path: Path) -> None:
    authority, other = trustme.CA(), trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    for name, one in (("ca", authority), ("other", other)):
        one.cert_pem.write_to_path(tmp_path / name)
    with issuer(send_keys, context) as (url, _):
        assert fetch(url, ca_file=str(tmp_path / "ca")) == RESPONSE
        for wrong in (str(tmp_path / "other"), ""):
            with pytest.raises(ssl.SSLCertVerificationError):
                fetch(url, ca_file=wrong)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_an_respond_that_points_elsewhere_is_not_followed(status: int) -> None:
    with issuer(send_keys) as (other, asked):

        def point(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(status)
            handler.send_header("location", other)
            handler.end_headers()

        with issuer(point) as (url, _), pytest.raises(SourceError, match=str(status)):
            fetch(url)
    assert asked == []


@pytest.mark.parametrize("status", [204, 401, 404, 500, 503])
def test_an_respond_without_keys_is_an_error(status: int) -> None:
    def fail(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.end_headers()

    with issuer(fail) as (url, _), pytest.raises(SourceError, match=str(status)):
        fetch(url)


def test_no_more_is_read_than_keys_may_have() -> None:
    def flood(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        for _ in range(100):
            handler.wfile.write(b"x" * (1 << 20))

    with issuer(flood) as (url, _):
        data = fetch(url)
        assert len(data) == (1 << 20) + 1
        source = Source(url, lambda: data, json.loads, every_seconds=1, soon_seconds=1, kept_seconds=1)
        with pytest.raises(SourceError, match="larger than 1048576"):
            source.load()


def drip_headers(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        handler.wfile.write(b"x: y\r\n"[:1])
        time.sleep(0.01)


def drip_body(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("content-length", "1000000")
    handler.end_headers()
    while True:
        handler.wfile.write(b"x")
        time.sleep(0.01)


def never(handler: BaseHTTPRequestHandler) -> None:
    handler.rfile.read(1)


def cut(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("content-length", "1000000")
    handler.end_headers()
    handler.wfile.write(RESPONSE)


@pytest.mark.parametrize("response", [drip_headers, drip_body, never, cut], ids=lambda one: str(one.__name__))
@pytest.mark.parametrize("encrypted", [False, True])
def test_an_respond_that_never_ends_is_given_up(
    response: Respond, encrypted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "_FETCH_SECONDS", 0.5)
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca")
    with issuer(response, context if encrypted else None) as (url, _):
        began = time.monotonic()
        with pytest.raises((SourceError, OSError)):
            fetch(url, ca_file=str(tmp_path / "ca"))
        assert time.monotonic() - began < 10


def test_a_server_that_takes_no_connection_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_FETCH_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"https://localhost:{server.getsockname()[1]}/"
        with pytest.raises(OSError, match="timed out"):
            fetch(url)
    with pytest.raises(ConnectionRefusedError):
        fetch(url)


class Issuer:
    """An issuer whose response changes."""

    def __init__(self) -> None:
        self.body = b""
        self.is_away = False

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        if self.is_away:
            handler.send_error(503)
        else:
            send_keys(handler, self.body)


def remote(folder: Path, url: str) -> SignedTokens:
    return verifier(folder, auth_keys=url)[0]


async def test_keys_of_an_issuer_that_is_away_go_on_and_unknown_ones_are_not_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, new, at = new_key(), new_key(kid="k2"), Issuer()
    passed = 0.0
    monotonic = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + passed)
    at.body = key_set(key).encode()
    with issuer(at) as (url, asked):
        tokens, all_sources = verifier(tmp_path, auth_keys=url)
        at.is_away, passed = True, 301
        await all_sources.round()
        assert isinstance(await tokens.principal(signed(key, claims())), Principal)
        with pytest.raises(DependencyUnavailable):
            await tokens.principal(signed(new, claims()))
        assert UP.labels(url)._value.get() == 0
        passed = 86_401 + 301
        with pytest.raises(DependencyUnavailable):
            await tokens.principal(signed(key, claims(jti="x")))
        at.is_away, at.body, passed = False, key_set(new).encode(), 86_420 + 301
        assert isinstance(await tokens.principal(signed(new, claims())), Principal)
        with pytest.raises(BadCredentials):
            await tokens.principal(signed(key, claims()))
        assert UP.labels(url)._value.get() == 1
        assert len(asked) == 4


async def test_an_issuer_that_was_away_at_the_start_is_asked_again(tmp_path: Path) -> None:
    key, at = new_key(), Issuer()
    at.is_away = True
    with issuer(at) as (url, asked):
        tokens = remote(tmp_path, url)
        for _ in range(20):
            with pytest.raises(DependencyUnavailable, match="The token issuer service can't be reached"):
                await tokens.principal(signed(key, claims()))
        assert len(asked) == 1


async def test_many_calls_with_an_unknown_key_ask_once_and_few_of_them_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, new, at = new_key(), new_key(kid="k2"), Issuer()
    at.body = key_set(key).encode()
    gate = threading.Event()

    def slow(handler: BaseHTTPRequestHandler) -> None:
        at(handler)
        gate.wait(10)

    passed = 0.0
    monotonic = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + passed)
    gate.set()
    with issuer(slow) as (url, asked):
        tokens = remote(tmp_path, url)
        gate.clear()
        passed, at.body = 11, key_set(key, new).encode()
        calls = [asyncio.create_task(tokens.principal(signed(new, claims(jti=str(i))))) for i in range(100)]
        await asyncio.sleep(0)
        other = asyncio.create_task(tokens.principal(signed(new, claims()), "ipv4:192.0.2.1:1"))
        # Those that know their key do not wait.
        assert isinstance(await tokens.principal(signed(key, claims())), Principal)
        gate.set()
        done = await asyncio.gather(*calls, return_exceptions=True)
        assert len(asked) == 2
        assert sum(isinstance(one, Principal) for one in done) == 64
        assert sum(isinstance(one, DependencyUnavailable) for one in done) == 36
        assert isinstance(await other, Principal)
