"""Connections that are not encrypted stay on this machine."""

import pytest

from innosystem.shared.transport import Transport, TransportError, is_local


@pytest.mark.parametrize(
    "target",
    [
        "localhost:50051",
        "LOCALHOST:1",
        "localhost",
        "127.0.0.1:50051",
        "127.1.2.3:0",
        "[::1]:50051",
        "::1",
        "unix:/run/jobs.sock",
        "unix:///run/jobs.sock",
        "unix-abstract:jobs",
        "dns:///localhost:50051",
        "dns:localhost:50051",
        "ipv4:127.0.0.1:1,127.0.0.2:1",
        "ipv6:[::1]:50051",
    ],
)
def test_targets_on_this_machine_are_local(target: str) -> None:
    assert is_local(target)


@pytest.mark.parametrize(
    "target",
    [
        "jobs:50053",
        "jobs.internal",
        "10.0.0.1:50051",
        "0.0.0.0:50051",
        "[::]:50051",
        "[2001:db8::1]:50051",
        ":50051",
        "",
        "localhost.example.com:1",
        "127.0.0.1.example.com:1",
        "127.0.0.1@example.com:1",
        "dns://192.0.2.1/localhost:50051",
        "dns:///jobs:50051",
        "ipv4:127.0.0.1:1,10.0.0.1:1",
        "ipv6:[2001:db8::1]:1",
        "xds:///localhost:1",
        "vsock:2:1",
    ],
)
def test_all_other_targets_are_not(target: str) -> None:
    assert not is_local(target)


def test_a_connection_that_leaves_the_machine_without_tls_is_refused_with_what_to_set() -> None:
    with pytest.raises(TransportError, match=r"jobs:50053.*INNOSYSTEM_TLS_CA_FILE.*INNOSYSTEM_PLAINTEXT=allow"):
        Transport().check("jobs:50053")


@pytest.mark.parametrize("transport", [Transport(ca_file="/ca.pem"), Transport(plaintext=True)])
def test_it_is_opened_with_tls_or_if_the_setting_allows_it(transport: Transport) -> None:
    transport.check("jobs:50053")


def test_the_transport_is_what_the_variables_say() -> None:
    variables = {
        "INNOSYSTEM_TLS_CA_FILE": "/tls/ca.crt",
        "INNOSYSTEM_TLS_CERTIFICATE_FILE": "/tls/tls.crt",
        "INNOSYSTEM_TLS_KEY_FILE": "/tls/tls.key",
        "INNOSYSTEM_TLS_SERVER_NAME": "jobs.example.com",
        "INNOSYSTEM_PLAINTEXT": "allow",
    }
    expected = Transport("/tls/ca.crt", "/tls/tls.crt", "/tls/tls.key", "jobs.example.com", plaintext=True)
    assert Transport.of(variables) == expected
    assert Transport.of({}) == Transport()


@pytest.mark.parametrize("value", ["true", "Allow", "deny"])
def test_plaintext_is_allowed_by_one_word_only(value: str) -> None:
    with pytest.raises(TransportError, match="INNOSYSTEM_PLAINTEXT can only be `allow`"):
        Transport.of({"INNOSYSTEM_PLAINTEXT": value})
