"""PostgreSQL and Redis by TLS: the right authority and name are demanded, and nothing else is talked to."""

import ssl
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import pytest
import trustme
from pydantic import SecretStr
from redis.exceptions import ConnectionError as RedisUnreachable
from sqlalchemy import text
from sqlalchemy.engine import make_url

from innosystem.shared.redis_connections import connect as connect_redis
from services.kit.data.engine.database import Database
from services.kit.errors import DatabaseUnavailable
from services.kit.settings import DatabaseSettings
from tests.support.certificates import Certificates
from tests.support.tls_proxy import tls_in_front_of


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    ca = trustme.CA(key_type=trustme.KeyType.ECDSA)
    return Certificates(tmp_path / "tls", ca, ca, names=("localhost",))


@pytest.fixture
def context(certificates: Certificates) -> ssl.SSLContext:
    found = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    found.load_cert_chain(certificates.certificate_file, certificates.key_file)
    return found


@pytest.fixture
def stranger(tmp_path: Path) -> Path:
    """The certificate of an authority that has signed nothing here."""
    file = tmp_path / "stranger.crt"
    trustme.CA().cert_pem.write_to_path(file)
    return file


async def _is_encrypted(url: str) -> bool:
    settings = DatabaseSettings(url=SecretStr(url), connect_timeout_seconds=5)
    database = Database.connect(settings, application_name="tests")
    try:
        async with database.transaction() as transaction:
            raw = await transaction.connection.get_raw_connection()
            assert (await transaction.connection.execute(text("SELECT 1"))).scalar_one() == 1
            return bool(raw.driver_connection.pgconn.ssl_in_use)  # type: ignore[union-attr]
    finally:
        await database.close()


async def test_postgresql_is_used_by_tls_if_authority_and_name_are_right(
    empty_database: str, certificates: Certificates, context: ssl.SSLContext, stranger: Path, opened: AsyncExitStack
) -> None:
    url = make_url(empty_database)
    folder = url.query.get("host") or url.host
    if not isinstance(folder, str) or not folder.startswith("/"):
        pytest.skip("the server of this run has no socket")
    socket = Path(folder) / f".s.PGSQL.{url.query.get('port') or url.port or 5432}"
    port = await opened.enter_async_context(tls_in_front_of(socket, context, postgres=True))

    def at(host: str, mode: str, ca: Path) -> str:
        query = {"sslmode": mode, "sslrootcert": str(ca)}
        return url.set(host=host, port=port, query=query).render_as_string(hide_password=False)

    assert await _is_encrypted(at("localhost", "verify-full", certificates.ca_file))
    with pytest.raises(DatabaseUnavailable) as wrong_ca:
        await _is_encrypted(at("localhost", "verify-full", stranger))
    assert "certificate verify failed" in (wrong_ca.value.said or "")
    with pytest.raises(DatabaseUnavailable) as wrong_name:
        await _is_encrypted(at("127.0.0.1", "verify-full", certificates.ca_file))
    assert 'certificate for "localhost" does not match host name "127.0.0.1"' in (wrong_name.value.said or "")


async def test_redis_is_used_by_tls_if_authority_and_name_are_right(
    redis_url: str, certificates: Certificates, context: ssl.SSLContext, stranger: Path, opened: AsyncExitStack
) -> None:
    parts = urlsplit(redis_url)
    if parts.scheme != "unix":
        pytest.skip("the server of this run has no socket")
    port = await opened.enter_async_context(tls_in_front_of(Path(parts.path), context))
    database = parse_qs(parts.query)["db"][0]

    def at(host: str, ca: Path) -> str:
        return f"rediss://{host}:{port}/{database}?ssl_ca_certs={quote(str(ca))}"

    async def ping(url: str) -> bool:
        async with connect_redis(url, lifetime_seconds=60) as client:
            return bool(await client.ping())

    assert await ping(at("localhost", certificates.ca_file))
    for url in (at("localhost", stranger), at("127.0.0.1", certificates.ca_file), f"rediss://localhost:{port}/0"):
        with pytest.raises(RedisUnreachable, match="certificate"):
            await ping(url)
