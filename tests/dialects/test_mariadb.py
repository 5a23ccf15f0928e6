"""Says once, instead of in each test, that these tests have not run on MariaDB."""

import pytest

from tests.dialects.conftest import HAS_MARIADB


def test_there_is_a_mariadb_for_these_tests() -> None:
    if not HAS_MARIADB:
        pytest.skip(
            "no test has run on MariaDB: use `make test-dialects`, which gets a server if it can, install one, or set "
            "MARIADB_URL to the address of one (mariadb://user:password@host:port/)"
        )
