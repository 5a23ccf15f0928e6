"""What makes an append-only table one is looked at: trigger, function, and who may do what (ADR 0052)."""

from collections.abc import Callable

import psycopg
import pytest

from services import SERVICES
from services.kit.migrations.grants import ServiceRoleUnknown
from services.kit.migrations.tree import Migrations
from tests.conftest import as_service, migrations

ROLE = "test_wallets"
VOID = "CREATE OR REPLACE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$"

# A change by the owner, and what the check begins to say of it.
CHANGES = {
    "ALTER TABLE wallet_transactions DISABLE TRIGGER USER": [
        "trigger wallet_transactions_append_only of wallet_transactions: disabled; the models say enabled always",
    ],
    "ALTER TABLE audit_log ENABLE REPLICA TRIGGER audit_log_append_only": [
        "trigger audit_log_append_only of audit_log: enabled for replicas only; the models say enabled always",
    ],
    "ALTER TABLE audit_log ENABLE TRIGGER audit_log_append_only": [
        "trigger audit_log_append_only of audit_log: enabled; the models say enabled always",
    ],
    "DROP TRIGGER audit_log_append_only ON audit_log": ["trigger audit_log_append_only of audit_log is missing"],
    VOID.format("refuse_change_of_transactions"): ["function refuse_change_of_transactions(): CREATE OR REPLACE"],
    VOID.format("refuse_change_of_audit_log"): ["function refuse_change_of_audit_log(): CREATE OR REPLACE"],
    "CREATE FUNCTION strange() RETURNS int LANGUAGE sql AS 'SELECT 1'": ["function strange() is not in the models"],
    "CREATE RULE strange AS ON INSERT TO audit_log DO INSTEAD NOTHING": [
        "rule strange of audit_log is not in the models",
    ],
    "ALTER TABLE holds SET UNLOGGED": ["table holds: UNLOGGED, which a crash empties; the models say kept"],
    "ALTER TABLE wallets ENABLE ROW LEVEL SECURITY": ["table wallets: rows under policies"],
    f"GRANT DELETE ON wallet_transactions TO {ROLE}": [f"role {ROLE} may DELETE on wallet_transactions"],
    f"GRANT UPDATE (amount_cents) ON wallet_transactions TO {ROLE}": [f"role {ROLE} may UPDATE on wallet_transactions"],
    f"GRANT TRUNCATE ON wallets TO {ROLE}": [f"role {ROLE} may TRUNCATE on wallets"],
    f"REVOKE UPDATE ON wallets FROM {ROLE}": [f"role {ROLE} may not UPDATE on wallets"],
    f"REVOKE SELECT ON alembic_version FROM {ROLE}": [f"role {ROLE} may not SELECT on alembic_version"],
    f"GRANT CREATE ON SCHEMA public TO {ROLE}": [f"role {ROLE} may CREATE in the schema public"],
    f"ALTER TABLE holds OWNER TO {ROLE}": [f"role {ROLE} of the service owns table holds"],
    f"ALTER FUNCTION refuse_change_of_audit_log() OWNER TO {ROLE}": [
        f"role {ROLE} of the service owns function refuse_change_of_audit_log",
    ],
    "GRANT UPDATE ON audit_log TO pg_monitor": ["pg_monitor may UPDATE on audit_log, which is append-only"],
    "GRANT DELETE ON audit_log TO PUBLIC": [
        f"role {ROLE} may DELETE on audit_log",
        "everybody may DELETE on audit_log, which is append-only",
    ],
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_makes_the_ledger_or_the_audit_trail_changeable_is_named(
    change: str, fresh_database: Callable[[str], str]
) -> None:
    url = fresh_database("wallets")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(change.encode())
    found = migrations("wallets", url).differences()
    assert len(found) == len(CHANGES[change])
    for line, begins in zip(found, CHANGES[change], strict=True):
        assert line.startswith(begins)


def test_without_a_role_of_the_service_others_may_still_not_change_what_is_append_only(
    fresh_database: Callable[[str], str],
) -> None:
    url = fresh_database("wallets")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"GRANT DELETE ON wallet_transactions TO {ROLE}".encode())
    by_owner = Migrations("wallets", url, migrations("wallets", url).metadata)
    assert by_owner.differences() == [f"{ROLE} may DELETE on wallet_transactions, which is append-only"]


@pytest.mark.parametrize("statement", ["UPDATE {} SET id = id", "DELETE FROM {}", "TRUNCATE {}"])
@pytest.mark.parametrize("table", ["wallet_transactions", "audit_log"])
def test_what_is_append_only_is_refused_to_the_service_and_to_the_owner_also_as_a_replica(
    table: str, statement: str, fresh_database: Callable[[str], str]
) -> None:
    url = fresh_database("wallets")
    change = statement.format(table).encode()
    with (
        psycopg.connect(as_service("wallets", url)) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(change)
    for mode in ("origin", "replica"):
        with psycopg.connect(url) as connection:
            connection.execute(f"SET session_replication_role = {mode}".encode())
            with pytest.raises(psycopg.errors.RestrictViolation, match=f"{table} is append-only"):
                connection.execute(change)


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("statement", ["CREATE TABLE mine (id int)", "DROP TABLE {}", "ALTER TABLE {} ADD mine int"])
def test_a_service_can_make_change_and_drop_no_table(
    service: str, statement: str, fresh_database: Callable[[str], str]
) -> None:
    with (
        psycopg.connect(as_service(service, fresh_database(service))) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement.format(service).encode())


def test_a_move_to_where_the_database_is_already_sets_grants_right(fresh_database: Callable[[str], str]) -> None:
    url = fresh_database("wallets")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"GRANT DELETE, TRUNCATE ON wallet_transactions TO {ROLE}".encode())
        connection.execute(f"REVOKE ALL ON wallets, holds FROM {ROLE}".encode())
    migrations("wallets", url).up()
    assert migrations("wallets", url).differences() == []


def test_tables_that_a_step_back_makes_anew_are_granted_as_well(fresh_database: Callable[[str], str]) -> None:
    url = fresh_database("wallets")
    migrations("wallets", url).down("base")
    migrations("wallets", url).up("adf7c563dbef")
    with psycopg.connect(as_service("wallets", url)) as connection:
        assert connection.execute("SELECT count(*) FROM wallets").fetchone() == (0,)


def test_a_role_that_does_not_exist_is_asked_for_and_named_by_the_check(fresh_database: Callable[[str], str]) -> None:
    url = fresh_database("wallets")
    steps = Migrations("wallets", url, migrations("wallets", url).metadata, service_role="nobody_yet")
    with pytest.raises(ServiceRoleUnknown, match="there is no role nobody_yet"):
        steps.up()
    assert "role nobody_yet of the service is missing" in steps.differences()
