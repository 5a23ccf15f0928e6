"""The migrations of each service, on real PostgreSQL (D8)."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from services import SERVICES
from services.kit.migrations.startup import head
from services.kit.migrations.tree import Migrations
from tests.conftest import migrations


def tables(url: str) -> set[str]:
    """The tables of a database, but for Alembic's own."""
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    return {name for (name,) in rows} - {"alembic_version"}


# Whether a constraint is validated is left out: nothing takes that back, and nothing has to.
_SCHEMA = """
SELECT 'column', attrelid::regclass::text, attname::text,
       concat_ws(' ', format_type(atttypid, atttypmod), attnotnull, attstorage, attcompression,
                 pg_get_expr(adbin, adrelid))
FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0 AND NOT attisdropped
UNION ALL SELECT 'options', oid::regclass::text, relkind::text, reloptions::text
FROM pg_class WHERE relnamespace = 'public'::regnamespace
UNION ALL SELECT 'constraint', conrelid::regclass::text, conname::text,
                 replace(pg_get_constraintdef(oid), ' NOT VALID', '')
FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT 'index', tablename::text, indexname::text, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT 'trigger', tgrelid::regclass::text, tgname::text, pg_get_triggerdef(oid)
FROM pg_trigger WHERE NOT tgisinternal
UNION ALL SELECT 'function', '', proname::text, regexp_replace(prosrc, '\\s+', ' ', 'g')
FROM pg_proc WHERE pronamespace = 'public'::regnamespace
"""


def schema(url: str) -> set[tuple[str, ...]]:
    """Columns, options, constraints, indexes, triggers and functions of a database, in PostgreSQL's own words."""
    with psycopg.connect(url) as connection:
        return set(connection.execute(_SCHEMA).fetchall())


@pytest.fixture(params=SERVICES)
def service(request: pytest.FixtureRequest) -> str:
    """Each service in turn."""
    name: str = request.param
    return name


def test_a_migrated_database_is_what_the_models_say(service: str, fresh_database: Callable[[str], str]) -> None:
    assert migrations(service, fresh_database(service)).differences() == []


def test_a_database_that_differs_from_the_models_is_found(service: str, fresh_database: Callable[[str], str]) -> None:
    url = fresh_database(service)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE foreign_to_the_models (id int)")
    assert "foreign_to_the_models" in str(migrations(service, url).differences())


def test_there_is_one_head_and_a_title_for_each_revision(service: str, empty_database: str) -> None:
    history = migrations(service, empty_database).history()
    assert history
    assert all(title for _, title in history)
    assert head(service) == history[-1][0], "HEAD has to name the last revision"
    # Upgrading to "head" refuses to choose between several.
    migrations(service, empty_database).up()
    assert migrations(service, empty_database).current() == history[-1][0]


def test_up_down_and_up_again_from_empty(service: str, empty_database: str) -> None:
    steps = migrations(service, empty_database)
    assert (steps.current(), tables(empty_database)) == (None, set())
    assert steps.pending() == [revision for revision, _ in steps.history()]
    steps.up()
    made = tables(empty_database)
    assert made == set(steps.metadata.tables)
    assert steps.pending() == []
    steps.down("base")
    assert (steps.current(), tables(empty_database)) == (None, set())
    steps.up()
    assert tables(empty_database) == made
    assert steps.differences() == []


def test_each_step_back_leaves_the_schema_that_was_there_before(service: str, empty_database: str) -> None:
    steps = migrations(service, empty_database)
    revisions = [revision for revision, _ in steps.history()]
    schemas = []
    for revision in revisions:
        steps.up(revision)
        schemas.append(schema(empty_database))
    for revision, before in reversed(list(zip(revisions[:-1], schemas[:-1], strict=True))):
        steps.down(revision)
        now = schema(empty_database)
        assert (now - before, before - now) == (set(), set()), f"what was made after {revision} is not taken back"


def test_many_processes_that_start_together_migrate_once(service: str, empty_database: str) -> None:
    steps = migrations(service, empty_database)
    with ThreadPoolExecutor(10) as pool:
        for done in [pool.submit(steps.up) for _ in range(10)]:
            done.result(timeout=60)
    assert steps.pending() == []
    assert steps.differences() == []


def test_a_failed_migration_leaves_nothing_behind(service: str, empty_database: str) -> None:
    # The first migration makes the table that the service is named after.
    table = service
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute(f'CREATE TABLE "{table}" (in_the_way int)')
    with pytest.raises(Exception, match=f'relation "{table}" already exists'):
        migrations(service, empty_database).up()
    assert tables(empty_database) == {table}
    assert migrations(service, empty_database).current() is None


def test_a_database_ahead_of_the_code_has_nothing_pending(service: str, fresh_database: Callable[[str], str]) -> None:
    url = fresh_database(service)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'of-a-later-release'")
    assert migrations(service, url).pending() == []


def test_a_new_migration_of_unchanged_models_is_empty(
    service: str, fresh_database: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = tmp_path / "migrations"
    shutil.copytree(Path(__file__).parents[2] / "services" / service / "migrations", versions)
    monkeypatch.setattr(Migrations, "versions", property(lambda _: versions))
    written = migrations(service, fresh_database(service)).new("Nothing")
    assert written.parent == versions
    text = written.read_text()
    assert text.startswith('"""Nothing.')
    assert "Rules:" in text
    assert text.count("    pass\n") == 2
