"""The privileges of a service's role in its database: change rows, and only add rows to append-only tables.

The role owns nothing, so it can change no table, trigger or function. The role that migrates owns them and grants the
privileges.
"""

from collections.abc import Iterator

from sqlalchemy import Connection, MetaData, Table, text

from services.kit.data.append_only import is_append_only

_VERSIONS = "alembic_version"
_ROWS = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE"})
_ADDING = frozenset({"SELECT", "INSERT"})
_READING = frozenset({"SELECT"})

_ROLE = text("SELECT rolsuper FROM pg_roles WHERE rolname = :role")
_WHO = text("SELECT current_user, current_database(), current_schema()")
_OWNED = text("""
SELECT 'schema ' || nspname AS what FROM pg_namespace
WHERE oid = CAST(:schema AS regnamespace) AND pg_has_role(:role, nspowner, 'MEMBER')
UNION ALL SELECT CASE WHEN relkind = 'S' THEN 'sequence ' ELSE 'table ' END || relname FROM pg_class
WHERE relnamespace = CAST(:schema AS regnamespace) AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    AND pg_has_role(:role, relowner, 'MEMBER')
UNION ALL SELECT 'function ' || proname FROM pg_proc
WHERE pronamespace = CAST(:schema AS regnamespace) AND pg_has_role(:role, proowner, 'MEMBER')
ORDER BY what
""")
_SCHEMA = text("""
SELECT has_schema_privilege(:role, CAST(:schema AS regnamespace), 'USAGE') AS may_use,
    has_schema_privilege(:role, CAST(:schema AS regnamespace), 'CREATE') AS may_create
""")
# A privilege on some columns is not enough, and yet must be revoked where none is expected.
_TABLES = text("""
SELECT c.relname AS name, p.name AS privilege, has_table_privilege(:role, c.oid, p.name) AS whole,
    CASE WHEN p.of_columns THEN has_any_column_privilege(:role, c.oid, p.name)
    ELSE has_table_privilege(:role, c.oid, p.name) END AS some
FROM pg_class c CROSS JOIN (
    VALUES ('SELECT', true), ('INSERT', true), ('UPDATE', true), ('DELETE', false), ('TRUNCATE', false),
        ('REFERENCES', true), ('TRIGGER', false)
) AS p (name, of_columns)
WHERE c.relnamespace = CAST(:schema AS regnamespace) AND c.relkind IN ('r', 'p')
ORDER BY c.relname, p.name
""")
_OTHERS = text("""
SELECT DISTINCT c.relname AS name, g.privilege_type AS privilege,
    CASE WHEN g.grantee = 0 THEN 'everybody' ELSE pg_get_userbyid(g.grantee) END AS grantee
FROM pg_class c
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attacl IS NOT NULL
CROSS JOIN LATERAL (SELECT * FROM aclexplode(c.relacl) UNION ALL SELECT * FROM aclexplode(a.attacl)) g
WHERE c.relnamespace = CAST(:schema AS regnamespace) AND c.relkind IN ('r', 'p') AND g.grantee <> c.relowner
    AND g.privilege_type IN ('UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER')
ORDER BY name, privilege, grantee
""")


class ServiceRoleUnknown(Exception):
    """The role of a service does not exist."""


def give(connection: Connection, metadata: MetaData, role: str) -> None:
    """Grant a service's role the privileges of the models, and revoke all others on their tables.

    Only differing tables are changed. Tables of another release stay as they are.

    Raises:
        ServiceRoleUnknown: If the role does not exist.
    """
    _check_role(connection, role)
    schema = _schema(connection)
    quote = connection.dialect.identifier_preparer.quote_identifier
    differing = {name for name, *_ in _tables(connection, metadata, schema, role)}
    for name in sorted(differing):
        privileges = ", ".join(sorted(_wanted(metadata)[name]))
        connection.execute(text(f"REVOKE ALL ON {quote(name)} FROM {quote(role)}"))
        connection.execute(text(f"GRANT {privileges} ON {quote(name)} TO {quote(role)}"))
    if not connection.execute(_SCHEMA, {"role": role, "schema": quote(schema)}).one().may_use:
        connection.execute(text(f"GRANT USAGE ON SCHEMA {quote(schema)} TO {quote(role)}"))


def differ(connection: Connection, metadata: MetaData, role: str) -> bool:
    """Return whether `give` would change anything.

    Raises:
        ServiceRoleUnknown: If the role does not exist.
    """
    _check_role(connection, role)
    return any(_tables(connection, metadata, _schema(connection), role))


def missing(connection: Connection, metadata: MetaData) -> str:
    """Return the missing privileges of the connection's role, on the tables that exist.

    Only tables are checked: no sequence is used, and PostgreSQL does not check whether a role may execute the function
    of a trigger that fires.

    Args:
        connection: A connection to the live database, as the service.
        metadata: The tables of the models.

    Returns:
        The tables with the missing privileges on each; empty if all are granted.
    """
    role, database, schema = connection.execute(_WHO).one()
    if schema is None:
        return f"role {role} may USE no schema of its search_path in the database {database}"
    refused: dict[str, list[str]] = {}
    for name, privilege, is_missing in _tables(connection, metadata, schema, role):
        if is_missing:
            refused.setdefault(name, []).append(privilege)
    tables = "; ".join(f"{', '.join(privileges)} on {name}" for name, privileges in refused.items())
    return f"role {role} may not {tables} in the database {database}" if tables else ""


def differences(connection: Connection, metadata: MetaData, role: str | None) -> Iterator[str]:
    """Yield excess privileges of all roles, and missing privileges of the service's role, one line each.

    Args:
        connection: A connection to the live database.
        metadata: The tables of the models.
        role: The service's role; None if the service connects as the owner.
    """
    schema = _schema(connection)
    if role is not None:
        yield from _of_role(connection, metadata, schema, role)
    growing = {name for name, table in metadata.tables.items() if is_append_only(table)}
    quoted = connection.dialect.identifier_preparer.quote_identifier(schema)
    for found in connection.execute(_OTHERS, {"schema": quoted}):
        if found.name in growing and found.grantee != role:
            yield f"{found.grantee} may {found.privilege} on {found.name}, which is append-only"


def _check_role(connection: Connection, role: str) -> None:
    if connection.scalar(_ROLE, {"role": role}) is None:
        raise ServiceRoleUnknown(f"there is no role {role}, which the service connects as: create it, with LOGIN")


def _of_role(connection: Connection, metadata: MetaData, schema: str, role: str) -> Iterator[str]:
    quoted = connection.dialect.identifier_preparer.quote_identifier(schema)
    is_superuser = connection.scalar(_ROLE, {"role": role})
    if is_superuser is None:
        yield f"role {role} of the service is missing"
    elif is_superuser:
        yield f"role {role} of the service is a superuser, whom nothing is refused"
    elif owned := connection.scalars(_OWNED, {"role": role, "schema": quoted}).all():
        yield f"role {role} of the service owns {', '.join(owned)}; it should own nothing"
    else:
        schema_rights = connection.execute(_SCHEMA, {"role": role, "schema": quoted}).one()
        if not schema_rights.may_use:
            yield f"role {role} may not USE the schema {schema}"
        if schema_rights.may_create:
            yield f"role {role} may CREATE in the schema {schema}"
        for name, privilege, is_missing in _tables(connection, metadata, schema, role):
            may_not, more = (" not", "") if is_missing else ("", "; the models say it may not")
            yield f"role {role} may{may_not} {privilege} on {name}{more}"


def _tables(connection: Connection, metadata: MetaData, schema: str, role: str) -> Iterator[tuple[str, str, bool]]:
    """Yield the differences between a role's privileges and the models: table, privilege, and whether it is missing."""
    wanted = _wanted(metadata)
    quoted = connection.dialect.identifier_preparer.quote_identifier(schema)
    for name, privilege, whole, some in connection.execute(_TABLES, {"role": role, "schema": quoted}).all():
        if name not in wanted:
            continue
        if privilege in wanted[name] and not whole:
            yield name, privilege, True
        elif privilege not in wanted[name] and some:
            yield name, privilege, False


def _wanted(metadata: MetaData) -> dict[str, frozenset[str]]:
    def of(table: Table) -> frozenset[str]:
        return _ADDING if is_append_only(table) else _ROWS

    return {name: of(table) for name, table in metadata.tables.items()} | {_VERSIONS: _READING}


def _schema(connection: Connection) -> str:
    return str(connection.scalar(text("SELECT current_schema()")))
