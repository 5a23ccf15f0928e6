"""Imports point inwards, as docs and architecture say: read from the source, so that a lazy import counts as well."""

import ast
from collections.abc import Iterator
from importlib.util import resolve_name
from pathlib import Path

import pytest

from services import SERVICES

ROOT = Path(__file__).parents[3]
# The files of a service that hold its rules: they know no transport and no database.
DOMAIN_FILES = (
    "domain.py",
    "errors.py",
    "repository.py",
    "service.py",
    "ledger.py",
    "completion.py",
    "control.py",
    "deaths.py",
    "rescue.py",
    "unserved.py",
    "control_service.py",
    "housekeeping.py",
    "leasing.py",
    "ports.py",
    "reconciler.py",
    "submission.py",
    "payloads.py",
    "job_types.py",
    "job_type_service.py",
    "run_service.py",
    "statistics.py",
)
STUBS = tuple(f"innosystem.{package}" for package in ("customers", "wallets", "jobs", "options"))
DATABASE_FILES = (
    "repository_sql.py",
    "verification_sql.py",
    "models.py",
    "statements.py",
    "housekeeping_statements.py",
    "live_statements.py",
    "unserved_sql.py",
)


def imported(source: str, package: str = "") -> Iterator[str]:
    """All modules that a source imports, also inside functions; relative ones are resolved against its package."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = resolve_name("." * node.level + (node.module or ""), package)
            yield from (f"{module}.{alias.name}" for alias in node.names)


def begins_with(module: str, packages: tuple[str, ...]) -> bool:
    """Whether a module is one of the packages or inside one."""
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def violations(source: str, forbidden: tuple[str, ...], but: tuple[str, ...] = (), package: str = "") -> list[str]:
    """The imports of a source that are forbidden to it."""
    found = imported(source, package)
    return [name for name in found if begins_with(name, forbidden) and not begins_with(name, but)]


def sources(folder: str) -> list[Path]:
    """The hand-written sources below a folder."""
    found = sorted((ROOT / folder).rglob("*.py"))
    assert found, f"{folder} holds no sources"
    return [path for path in found if "_pb2" not in path.name]


def package_of(path: Path) -> str:
    """The package that a source's relative imports start from."""
    folders = path.parent.relative_to(ROOT).parts
    return ".".join(folders[folders.index("src") + 1 :] if "src" in folders else folders)


def check(paths: list[Path], forbidden: tuple[str, ...], but: tuple[str, ...] = ()) -> None:
    """Fails with every forbidden import of the sources."""
    found = {
        str(path.relative_to(ROOT)): wrong
        for path in paths
        if (wrong := violations(path.read_text(encoding="utf-8"), forbidden, but, package_of(path)))
    }
    assert not found


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_imports_no_other_service(service: str) -> None:
    others = tuple(f"services.{other}" for other in (*SERVICES, "cli", "bench") if other != service)
    check(sources(f"services/{service}"), others)


def test_the_check_of_all_books_takes_from_the_services_only_the_wallets_own_check() -> None:
    allowed = (
        "services.kit",
        "tools.verify",
        "services.wallets.usecases.verify_ledger",
        "services.wallets.store.verify_sql",
    )
    check(sources("tools/verify"), ("services", *STUBS), but=allowed)


def test_no_service_knows_that_it_is_checked() -> None:
    for service in SERVICES:
        check(sources(f"services/{service}"), ("tools.verify",))


def test_of_the_check_of_all_books_only_what_says_so_in_its_name_knows_the_database() -> None:
    paths = [path for path in sources("tools/verify") if not path.name.endswith("_sql.py")]
    assert len(paths) >= 4
    check(
        paths,
        ("grpc", "sqlalchemy", "psycopg", "services.kit.data.engine.database", "services.wallets.store.verify_sql"),
    )


def test_the_kit_imports_no_service() -> None:
    check(sources("services/kit"), ("services",), but=("services.kit",))


def test_the_kit_knows_of_the_contract_only_its_options() -> None:
    check(sources("services/kit"), STUBS, but=("innosystem.options",))


def test_the_runner_imports_of_ours_only_the_sdk() -> None:
    check(sources("runner/src"), ("services", "tests", "scripts"))


def test_the_sdk_imports_nothing_of_ours_but_itself() -> None:
    check(sources("sdk/src/innosystem/client"), ("services", "tests", "scripts", "innosystem.runner"))


@pytest.mark.parametrize("service", SERVICES)
def test_rules_know_neither_transport_nor_database(service: str) -> None:
    paths = [path for path in sources(f"services/{service}") if path.name in DOMAIN_FILES]
    assert len(paths) >= 4
    check(paths, ("grpc", "google", "sqlalchemy", "psycopg", "alembic", "redis", *STUBS))


@pytest.mark.parametrize("service", SERVICES)
def test_only_repositories_and_models_know_the_database(service: str) -> None:
    paths = [
        path
        for path in sources(f"services/{service}")
        if path.name not in DATABASE_FILES and path.parent.name != "migrations"
    ]
    check(paths, ("sqlalchemy", "psycopg", "alembic"))


def test_in_the_kit_only_data_migrations_and_the_sql_of_queries_know_the_database() -> None:
    kit = ROOT / "services/kit"
    allowed = (kit / "data", kit / "migrations", kit / "query/sql.py")
    paths = [path for path in sources("services/kit") if not any(path.is_relative_to(place) for place in allowed)]
    check(paths, ("sqlalchemy", "psycopg", "alembic"))


def test_of_the_command_only_the_migrations_part_knows_sqlalchemy() -> None:
    # It tells the errors of the migrations' driver apart, to report each in one line.
    paths = [path for path in sources("tools/cli") if path != ROOT / "tools/cli/commands/migrate.py"]
    check(paths, ("sqlalchemy",))


def test_what_runs_in_the_environment_of_the_peers_imports_nothing_of_ours() -> None:
    check(
        sources("tools/bench/peers/peerwork"),
        ("services", "innosystem", "tests", "scripts"),
        but=("tools.bench.peers.peerwork",),
    )


def test_a_forbidden_import_is_found_wherever_it_stands() -> None:
    source = "def f():\n    from services.wallets import domain\n    import sqlalchemy.orm\nfrom services import jobs\n"
    found = violations(source, ("services", "sqlalchemy"))
    assert sorted(found) == ["services.jobs", "services.wallets.rules.entities", "sqlalchemy.orm"]
    assert violations(source, ("services",), but=("services.wallets",)) == ["services.jobs"]
    assert violations("import servicesque\n", ("services",)) == []


def test_a_relative_import_is_found_by_what_it_leads_to() -> None:
    source = "from ..wallets import domain\nfrom . import models\n"
    assert violations(source, ("services.wallets",), package="services.jobs") == ["services.wallets.rules.entities"]
    assert list(imported(source, "services.jobs")) == ["services.wallets.rules.entities", "services.jobs.store.tables"]


def test_the_package_of_a_source_is_the_one_it_is_imported_as() -> None:
    assert package_of(ROOT / "services/jobs/rules/entities.py") == "services.jobs"
    assert package_of(ROOT / "runner/src/innosystem/runner/queue.py") == "innosystem.runner"
