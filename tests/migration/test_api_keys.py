"""API keys that were stored with their customers work on from a table of their own."""

from datetime import UTC, datetime
from hashlib import sha256

import psycopg

from tests.conftest import migrations

BEFORE = "79b4c79c7a2b"
COPIED = "8e3f61d05b94"
LATER = datetime(2100, 1, 1, tzinfo=UTC)
ROWS = """
INSERT INTO customers (id, name, email, api_key_prefix, api_key_hash, previous_api_key_hash,
    previous_api_key_expires_at, request_digest)
VALUES (gen_random_uuid(), 'no key', 'none@example.com', '', NULL, NULL, NULL, ''),
    (gen_random_uuid(), 'one key', 'one@example.com', 'inno_one', %(one)s, NULL, NULL, ''),
    (gen_random_uuid(), 'two keys', 'two@example.com', 'inno_two', %(two)s, %(previous)s, %(later)s, '')
"""
KEYS = """
SELECT c.name, k.prefix, k.hash, k.expires_at FROM api_keys k JOIN customers c ON c.id = k.customer_id
ORDER BY c.name, k.expires_at NULLS FIRST
"""


def hashed(text: str) -> bytes:
    return sha256(text.encode()).digest()


def test_keys_that_there_were_are_copied_once_with_their_ends(empty_database: str) -> None:
    steps = migrations("customers", empty_database)
    steps.up(BEFORE)
    hashes = {name: hashed(name) for name in ("one", "two", "previous")}
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute(ROWS, {**hashes, "later": LATER})

    steps.up(COPIED)

    expected = [
        ("one key", "inno_one", hashes["one"], None),
        ("two keys", "inno_two", hashes["two"], None),
        ("two keys", "", hashes["previous"], LATER),
    ]
    with psycopg.connect(empty_database, autocommit=True) as connection:
        assert connection.execute(KEYS).fetchall() == expected
    # Once more, as after an interruption.
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '5c0e7d92ab31'")
    steps.up(COPIED)
    with psycopg.connect(empty_database, autocommit=True) as connection:
        assert connection.execute(KEYS).fetchall() == expected


def test_going_back_leaves_customers_the_present_and_the_previous_key(empty_database: str) -> None:
    steps = migrations("customers", empty_database)
    steps.up(BEFORE)
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute(
            ROWS, {"one": hashed("one"), "two": hashed("two"), "previous": hashed("previous"), "later": LATER}
        )
        before = connection.execute("SELECT * FROM customers ORDER BY email").fetchall()
    steps.up()
    steps.down(BEFORE)
    with psycopg.connect(empty_database, autocommit=True) as connection:
        assert connection.execute("SELECT * FROM customers ORDER BY email").fetchall() == before
        connection.execute("UPDATE customers SET api_key_hash = 'changed' WHERE name = 'one key'")
