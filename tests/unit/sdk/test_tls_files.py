"""Files of TLS are read again when they change, and only together."""

from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from structlog.testing import capture_logs

from innosystem.client.renewal import client_files
from innosystem.shared.tls_files import TlsFiles
from innosystem.shared.tls_renewals import renewals
from innosystem.shared.transport import Transport, TransportError
from tests.support.certificates import Certificates


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


@pytest.fixture
def held(tmp_path: Path, ca: trustme.CA) -> Certificates:
    return Certificates(tmp_path / "tls", ca, ca)


@pytest.fixture
def reports() -> list[str]:
    return []


@pytest.fixture
def files(held: Certificates, reports: list[str]) -> TlsFiles:
    return TlsFiles(
        ca_file=str(held.ca_file),
        certificate_file=str(held.certificate_file),
        key_file=str(held.key_file),
        report=reports.append,
    )


def test_the_contents_are_the_same_object_until_the_files_change(
    files: TlsFiles, held: Certificates, reports: list[str]
) -> None:
    before = files.current()
    assert files.current() is before
    held.renew()
    after = files.current()
    assert (after.certificate, after.key) == (held.certificate_file.read_bytes(), held.key_file.read_bytes())
    assert after.certificate != before.certificate
    assert files.current() is after
    assert reports == [""]


def test_files_that_are_written_again_with_the_same_content_are_no_change(
    files: TlsFiles, held: Certificates, reports: list[str]
) -> None:
    before = files.current()
    held.key_file.write_bytes(held.key_file.read_bytes())
    assert files.current() is before
    assert reports == []


def _other_certificate(held: Certificates) -> None:
    held.certificate_file.write_bytes(held.ca.issue_cert("localhost").cert_chain_pems[0].bytes())


def _half_a_key(held: Certificates) -> None:
    held.key_file.write_bytes(held.key_file.read_bytes()[:60])


def _no_key(held: Certificates) -> None:
    held.key_file.unlink()


def _empty_ca(held: Certificates) -> None:
    held.ca_file.write_bytes(b"")


def _encrypted_key(held: Certificates) -> None:
    key = load_pem_private_key(held.key_file.read_bytes(), None)
    held.key_file.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"a password"))
    )


BROKEN = [_other_certificate, _half_a_key, _no_key, _empty_ca, _encrypted_key]


@pytest.mark.parametrize("spoil", BROKEN)
def test_broken_files_leave_the_old_ones_in_use_are_reported_once_and_recover(
    files: TlsFiles, held: Certificates, reports: list[str], spoil: Callable[[Certificates], None]
) -> None:
    before = files.current()
    spoil(held)
    assert files.current() is before
    assert files.current() is before
    [problem] = reports
    assert str(held.folder) in problem

    held.renew()
    assert files.current().key == held.key_file.read_bytes()
    assert reports == [problem, ""]


@pytest.mark.parametrize("spoil", BROKEN)
def test_broken_files_are_refused_at_the_start_with_their_names(
    held: Certificates, spoil: Callable[[Certificates], None]
) -> None:
    spoil(held)
    with pytest.raises(TransportError, match=str(held.folder)):
        TlsFiles(ca_file=str(held.ca_file), certificate_file=str(held.certificate_file), key_file=str(held.key_file))


def test_an_encrypted_key_is_named_as_such_and_nobody_is_asked_for_its_password(held: Certificates) -> None:
    _encrypted_key(held)
    with pytest.raises(TransportError, match=r"tls\.key is encrypted"):
        TlsFiles(certificate_file=str(held.certificate_file), key_file=str(held.key_file))


def test_a_certificate_needs_its_key() -> None:
    with pytest.raises(TransportError, match="a certificate needs its key"):
        TlsFiles(certificate_file="/tls/tls.crt")


def test_what_is_shown_of_contents_has_no_key(files: TlsFiles) -> None:
    assert "PRIVATE" not in repr(files.current())


@pytest.mark.parametrize("spoiled", [False, True], ids=["renewed", "spoiled"])
def test_a_change_of_files_is_reported_once_however_many_connections_of_a_process_have_them(
    held: Certificates, spoiled: bool
) -> None:
    def connection(target: str) -> TlsFiles:
        ca_file, certificate_file, key_file = map(str, (held.ca_file, held.certificate_file, held.key_file))
        found = client_files(target, Transport(ca_file, certificate_file, key_file, report=renewals("client")))
        assert found is not None
        return found

    connections = [connection(f"{service}:443") for service in ("jobs", "wallets", "jobs")]
    before = [one.current() for one in connections]
    held.renew()
    if spoiled:
        held.ca_file.write_text("half a certif", "utf-8")
    with capture_logs() as lines:
        after = [one.current() for one in connections]
    assert [one is not other for one, other in zip(before, after, strict=True)] == [not spoiled] * 3
    assert [one["event"] for one in lines] == ["tls_files_not_renewed" if spoiled else "tls_files_renewed"]
