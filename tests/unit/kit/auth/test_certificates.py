"""A client certificate says who calls by its SPIFFE ID, over a real connection."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from cryptography import x509

from services.kit.auth.authentication import Authentication
from services.kit.auth.certificates import Certificates
from services.kit.auth.principal import Kind, Principal
from services.kit.auth.settings import AuthSettings
from services.kit.auth.sources import Sources
from services.kit.errors import DependencyUnavailable, DomainError
from tests.support.tokens import callers_of

MAPPING = """
certificates:
  spiffe://prod.example/runner/images: {kind: runner, queues: [images]}
  spiffe://cluster.local/ns/shop/sa/orders: {kind: client, name: orders, customers: all}
"""


class Server:
    """A server that responds each call with its actor, or with why there is none."""

    def __init__(self, authority: trustme.CA, authentication: Authentication) -> None:
        self._authority = authority
        self._authentication = authentication
        self.found: list[Principal] = []
        self.server = grpc.aio.server()
        self.server.add_generic_rpc_handlers((self,))  # type: ignore[arg-type] # it has what gRPC calls
        certificate = authority.issue_cert("localhost")
        root = authority.cert_pem.bytes()
        pair = (certificate.private_key_pem.bytes(), certificate.cert_chain_pems[0].bytes())
        credentials = grpc.ssl_server_credentials([pair], root, require_client_auth=True)
        self.port = self.server.add_secure_port("localhost:0", credentials)

    def service(self, _details: object) -> Any:
        return grpc.unary_unary_rpc_method_handler(self._respond)

    async def _respond(self, _request: bytes, context: Any) -> bytes:
        try:
            who = await self._authentication.principal(context)
        except DomainError as error:
            return error.reason.encode()
        self.found.append(who)
        return who.actor.encode()

    async def call(self, *names: x509.GeneralName | str, token: str = "") -> str:
        """Call with a certificate for these names."""
        certificate = self._authority.issue_cert(*names)  # type: ignore[arg-type]
        credentials = grpc.ssl_channel_credentials(
            self._authority.cert_pem.bytes(),
            certificate.private_key_pem.bytes(),
            certificate.cert_chain_pems[0].bytes(),
        )
        async with grpc.aio.secure_channel(f"localhost:{self.port}", credentials) as channel:
            metadata = (("authorization", f"Bearer {token}"),) if token else ()
            method: Any = channel.unary_unary("/a/B")
            response: bytes = await method(b"", metadata=metadata, timeout=20)
        return response.decode()


@pytest.fixture
def any_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Certificates of tests may have URIs, which trustme knows nothing of."""
    of_text = trustme._identity_string_to_x509
    monkeypatch.setattr(
        trustme,
        "_identity_string_to_x509",
        lambda name: name if isinstance(name, x509.GeneralName) else of_text(name),
    )


@pytest.fixture
async def server(tmp_path: Path, any_name: None) -> AsyncIterator[Server]:
    settings = AuthSettings(auth="on", auth_trust_domain="prod.example")
    certificates = Certificates("prod.example", callers_of(tmp_path, Sources(), MAPPING, settings))
    served = Server(trustme.CA(), Authentication(required=True, certificate=certificates))
    await served.server.start()
    yield served
    await served.server.stop(None)


def uri(text: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(text)


@pytest.mark.parametrize(
    ("spiffe_id", "response"),
    [
        ("spiffe://prod.example/operator/ada", "operator/ada"),
        ("spiffe://prod.example/service/jobs", "service/jobs"),
        ("spiffe://prod.example/runner/images", "runner/images"),
        ("spiffe://cluster.local/ns/shop/sa/orders", "client/orders"),
        # A runner or a client that no entry binds, other kinds and names, other trust domains.
        ("spiffe://prod.example/runner/thumbs", "BAD_CREDENTIALS"),
        ("spiffe://prod.example/client/shop", "BAD_CREDENTIALS"),
        ("spiffe://prod.example/admin/ada", "BAD_CREDENTIALS"),
        ("spiffe://prod.example/OPERATOR/ada", "BAD_CREDENTIALS"),
        ("spiffe://prod.example/operator/ada/eve", "BAD_CREDENTIALS"),
        ("spiffe://prod.example/operator/", "BAD_CREDENTIALS"),
        ("spiffe://prod.example/operator", "BAD_CREDENTIALS"),
        ("spiffe://other.example/operator/ada", "BAD_CREDENTIALS"),
        ("spiffe://prod.example.other/operator/ada", "BAD_CREDENTIALS"),
        ("spiffe://cluster.local/ns/shop/sa/other", "BAD_CREDENTIALS"),
        # No SPIFFE ID at all.
        ("https://prod.example/operator/ada", "NO_CREDENTIALS"),
    ],
)
async def test_the_spiffe_id_of_a_certificate_says_who_calls(server: Server, spiffe_id: str, response: str) -> None:
    assert await server.call(uri(spiffe_id)) == response


async def test_a_runner_with_a_certificate_is_bound_by_the_mapping(server: Server) -> None:
    await server.call(uri("spiffe://prod.example/runner/images"))
    queues = frozenset({"images"})
    assert server.found == [Principal(kind=Kind.RUNNER, name="images", queues=queues, credential="certificate")]


async def test_a_name_of_another_type_that_looks_like_a_spiffe_id_is_none(server: Server) -> None:
    ada = "spiffe://prod.example/operator/ada"
    assert await server.call(x509.DNSName(ada)) == "NO_CREDENTIALS"
    assert await server.call(x509.RFC822Name(ada)) == "NO_CREDENTIALS"
    assert await server.call("localhost") == "NO_CREDENTIALS"


async def test_of_two_names_none_is_chosen(server: Server) -> None:
    ada = uri("spiffe://prod.example/operator/ada")
    assert await server.call(ada, uri("spiffe://prod.example/operator/eve")) == "NO_CREDENTIALS"
    assert await server.call(ada, x509.DNSName("localhost")) == "operator/ada"


async def test_a_token_comes_before_the_certificate_even_a_wrong_one(server: Server) -> None:
    assert await server.call(uri("spiffe://prod.example/operator/ada"), token="wrong") == "BAD_CREDENTIALS"


def test_without_a_trust_domain_only_the_mapping_names_callers(tmp_path: Path) -> None:
    certificates = Certificates("", callers_of(tmp_path, Sources(), MAPPING, AuthSettings()))
    found = certificates({"peer_spiffe_id": [b"spiffe://cluster.local/ns/shop/sa/orders"]})
    assert found is not None
    for unknown in (b"spiffe:///operator/ada", b"spiffe://prod.example/operator/ada", b"\xff"):
        with pytest.raises(DomainError, match="unknown, expired or revoked"):
            certificates({"peer_spiffe_id": [unknown]})


def test_without_a_mapping_for_too_long_nobody_is_judged(tmp_path: Path) -> None:
    callers = callers_of(tmp_path, Sources(), MAPPING, AuthSettings(auth_keys_kept_seconds=1e-9))
    with pytest.raises(DependencyUnavailable):
        Certificates("prod.example", callers)({"peer_spiffe_id": [b"spiffe://prod.example/operator/ada"]})
