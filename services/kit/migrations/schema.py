"""The differences between a live database and the models, in words.

The models' tables are created in a schema that is rolled back, and the catalogues of the two are compared. The same
server thereby renders both, and CHECK constraints, triggers and their functions are compared as well.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, MetaData, text

from services.kit.migrations import grants
from services.kit.migrations.locking import TURNS

# Alembic's table and that of the turns are not in the models.
_TABLES = f"""
SELECT c.oid, c.relname AS name, c.reloptions AS parameters, c.relpersistence::text AS persistence,
    c.relrowsecurity AS policed FROM pg_class c
WHERE c.relnamespace = CAST(:schema AS regnamespace) AND c.relkind IN ('r', 'p')
    AND c.relname NOT IN ('alembic_version', '{TURNS}')
"""  # noqa: S608 - constants of this module
_COLUMNS = f"""
SELECT t.name || '.' || a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull AS not_null,
    pg_get_expr(d.adbin, d.adrelid, true) AS value, a.attidentity::text AS identity, a.attgenerated::text AS generated,
    CASE WHEN a.attcollation <> y.typcollation THEN l.collname::text END AS collation
FROM ({_TABLES}) t
JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type y ON y.oid = a.atttypid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
LEFT JOIN pg_collation l ON l.oid = a.attcollation
"""  # noqa: S608 - constants of this module
# NOT NULL, a constraint since PostgreSQL 18, is compared with the columns.
_CONSTRAINTS = f"""
SELECT t.name || '.' || c.conname AS name, c.contype::text AS kind, pg_get_constraintdef(c.oid, true) AS definition
FROM ({_TABLES}) t JOIN pg_constraint c ON c.conrelid = t.oid
WHERE c.contype IN ('c', 'f', 'p', 'u', 'x')
"""  # noqa: S608 - constants of this module
# The indexes of constraints are compared with the constraints.
_INDEXES = f"""
SELECT t.name || '.' || i.relname AS name, pg_get_indexdef(x.indexrelid, 0, true) AS definition, x.indisvalid AS valid
FROM ({_TABLES}) t JOIN pg_index x ON x.indrelid = t.oid JOIN pg_class i ON i.oid = x.indexrelid
WHERE NOT EXISTS (
    SELECT FROM pg_constraint c WHERE c.conindid = x.indexrelid AND c.conrelid = t.oid AND c.contype IN ('p', 'u', 'x')
)
"""  # noqa: S608 - constants of this module

_TRIGGERS = f"""
SELECT t.name || '.' || g.tgname AS name, pg_get_triggerdef(g.oid, true) AS definition, g.tgenabled::text AS enabled
FROM ({_TABLES}) t JOIN pg_trigger g ON g.tgrelid = t.oid
WHERE NOT g.tgisinternal
"""  # noqa: S608 - constants of this module

# A rule can replace a statement.
_RULES = f"""
SELECT t.name || '.' || r.rulename AS name, pg_get_ruledef(r.oid, true) AS definition
FROM ({_TABLES}) t JOIN pg_rewrite r ON r.ev_class = t.oid
"""  # noqa: S608 - constants of this module

# Functions of extensions are left out. The schema in the text differs for the models and is removed. Indentation is
# ignored; line ends matter, because of comments.
_FUNCTIONS = r"""
SELECT p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')' AS name,
    regexp_replace(
        replace(pg_get_functiondef(p.oid), quote_ident(n.nspname) || '.' || quote_ident(p.proname), p.proname),
        '\s*\n\s*', E'\n', 'g'
    ) AS definition
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.oid = CAST(:schema AS regnamespace) AND p.prokind IN ('f', 'p')
    AND NOT EXISTS (
        SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
    )
"""

_PERSISTENCE = {"p": "kept", "u": "UNLOGGED, which a crash empties", "t": "temporary"}
_ENABLED = {"O": "enabled", "A": "enabled always", "R": "enabled for replicas only", "D": "disabled"}
_KINDS = {"c": "check constraint", "f": "foreign key", "p": "primary key", "u": "unique constraint", "x": "exclusion"}


@dataclass(frozen=True)
class _Catalogue:
    """The parts of a schema by name; all names except those of tables begin with that of their table."""

    tables: Mapping[str, Any]
    columns: Mapping[str, Any]
    constraints: Mapping[str, Any]
    indexes: Mapping[str, Any]
    triggers: Mapping[str, Any]
    rules: Mapping[str, Any]
    functions: Mapping[str, Any]


def differences(connection: Connection, metadata: MetaData, service_role: str | None = None) -> list[str]:
    """Return the differences between the database and the models, a line each, in order; empty without differences.

    The check leaves nothing behind and locks no table. The user needs the privilege to create a schema.

    Args:
        connection: A connection to the live database, as its owner.
        metadata: The tables of the models.
        service_role: The service's role; None if the service connects as the owner.
    """
    schema = f"innosystem_check_{uuid4().hex}"
    try:
        live = str(connection.scalar(text("SELECT current_schema()")))
        found = _read(connection, live)
        rights = list(grants.differences(connection, metadata, service_role))
        connection.execute(text(f"CREATE SCHEMA {schema}"))
        # Definitions omit the schema of tables in the search path.
        connection.execute(text(f"SET LOCAL search_path TO {schema}"))
        metadata.create_all(connection, checkfirst=False)
        return [*_differences(found, _read(connection, schema)), *rights]
    finally:
        connection.rollback()


def _read(connection: Connection, schema: str) -> _Catalogue:
    def by_name(query: str) -> dict[str, Any]:
        rows = connection.execute(text(query), {"schema": f'"{schema}"'})
        return {row.name: row for row in rows}

    parts = (_TABLES, _COLUMNS, _CONSTRAINTS, _INDEXES, _TRIGGERS, _RULES, _FUNCTIONS)
    return _Catalogue(*(by_name(query) for query in parts))


def _differences(live: _Catalogue, models: _Catalogue) -> Iterator[str]:
    yield from _compared(live.tables, models.tables, lambda name, _: f"table {name}", _table)
    yield from _compared(live.functions, models.functions, lambda name, _: f"function {name}", _definition)
    # A table that only one of them has is not compared further.
    both = live.tables.keys() & models.tables.keys()
    live, models = _of(live, both), _of(models, both)
    yield from _parameters(live.tables, models.tables, both)
    yield from _compared(live.columns, models.columns, lambda name, _: f"column {name}", _column)
    yield from _compared(live.constraints, models.constraints, _constraint_name, _definition)
    yield from _compared(live.indexes, models.indexes, lambda name, _: f"index {_inside(name)}", _index)
    yield from _compared(live.triggers, models.triggers, lambda name, _: f"trigger {_inside(name)}", _trigger)
    yield from _compared(live.rules, models.rules, lambda name, _: f"rule {_inside(name)}", _definition)


def _parameters(live: Mapping[str, Any], models: Mapping[str, Any], tables: set[str]) -> Iterator[str]:
    """Yield differing storage parameters of the models. Parameters that an operator has set beside them are allowed."""
    for name in sorted(tables):
        found = dict(parameter.split("=", 1) for parameter in live[name].parameters or ())
        for parameter in models[name].parameters or ():
            key, _, value = parameter.partition("=")
            if (is_ := found.get(key)) != value:
                yield f"table {name}: {key} {'not set' if is_ is None else is_}; the models say {value}"


def _compared(
    live: Mapping[str, Any],
    models: Mapping[str, Any],
    called: Callable[[str, Any], str],
    facts: Callable[[Any], tuple[str, ...]],
) -> Iterator[str]:
    for name in sorted(live.keys() | models.keys()):
        if name not in live:
            yield f"{called(name, models[name])} is missing"
        elif name not in models:
            yield f"{called(name, live[name])} is not in the models"
        else:
            pairs = zip(facts(live[name]), facts(models[name]), strict=True)
            yield from (
                f"{called(name, live[name])}: {_in_one_line(is_)}; the models say {_in_one_line(says)}"
                for is_, says in pairs
                if is_ != says
            )


def _table(row: Any) -> tuple[str, ...]:
    return (_PERSISTENCE[row.persistence], "rows under policies" if row.policed else "all rows for everybody")


def _definition(row: Any) -> tuple[str, ...]:
    return (row.definition,)


def _column(row: Any) -> tuple[str, ...]:
    value = f"generated as {row.value}" if row.generated else f"default {row.value}"
    return (
        f"type {row.type}" + (f" collate {row.collation}" if row.collation else ""),
        "NOT NULL" if row.not_null else "may be null",
        value if row.value is not None else "identity" if row.identity else "no default",
    )


def _index(row: Any) -> tuple[str, ...]:
    return (row.definition, "valid" if row.valid else "not valid (a CREATE INDEX CONCURRENTLY was interrupted)")


def _trigger(row: Any) -> tuple[str, ...]:
    return (row.definition, _ENABLED[row.enabled])


def _constraint_name(name: str, row: Any) -> str:
    return f"{_KINDS[row.kind]} {_inside(name)}"


def _in_one_line(definition: str) -> str:
    return " ".join(definition.split())


def _inside(name: str) -> str:
    table, _, own = name.partition(".")
    return f"{own} of {table}"


def _of(catalogue: _Catalogue, tables: set[str]) -> _Catalogue:
    def those(parts: Mapping[str, Any]) -> dict[str, Any]:
        return {name: row for name, row in parts.items() if name.partition(".")[0] in tables}

    return _Catalogue(
        those(catalogue.tables),
        those(catalogue.columns),
        those(catalogue.constraints),
        those(catalogue.indexes),
        those(catalogue.triggers),
        those(catalogue.rules),
        catalogue.functions,
    )
