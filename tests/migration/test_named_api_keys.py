"""API keys from before they had names and scopes work on, and what the release before writes ends no new ones."""

import psycopg

from tests.conftest import migrations
from tests.migration.test_api_keys import LATER, ROWS, hashed

BEFORE = "2e81f4d07a5c"
VALUES = "SELECT name, may_read, may_submit, last_used_at FROM api_keys"
HASHES = {name: hashed(name) for name in ("one", "two", "previous")} | {"later": LATER}


def test_keys_that_there_were_have_no_name_and_all_scopes(empty_database: str) -> None:
    steps = migrations("customers", empty_database)
    steps.up(BEFORE)
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute(ROWS, HASHES)
        before = connection.execute("SELECT * FROM api_keys ORDER BY id").fetchall()
    assert before

    steps.up()
    with psycopg.connect(empty_database, autocommit=True) as connection:
        assert set(connection.execute(VALUES).fetchall()) == {("", True, True, None)}

    steps.down(BEFORE)
    with psycopg.connect(empty_database, autocommit=True) as connection:
        assert connection.execute("SELECT * FROM api_keys ORDER BY id").fetchall() == before


def test_a_rotation_of_the_release_before_ends_no_key_with_a_name(empty_database: str) -> None:
    migrations("customers", empty_database).up()
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute(ROWS, HASHES)
        connection.execute(
            "INSERT INTO api_keys (id, customer_id, name, prefix, hash, may_submit)"
            " SELECT gen_random_uuid(), id, 'reports', 'inno_reports', 'reports', false FROM customers"
            " WHERE name = 'one key'"
        )
        connection.execute("UPDATE customers SET api_key_hash = %s WHERE name = 'one key'", [hashed("its next key")])
        keys = connection.execute(
            "SELECT k.name, k.may_submit, k.expires_at IS NULL FROM api_keys k JOIN customers c ON c.id = k.customer_id"
            " WHERE c.name = 'one key' ORDER BY k.created_at, k.expires_at"
        ).fetchall()
    assert sorted(keys) == [("", True, False), ("", True, True), ("reports", False, True)]
