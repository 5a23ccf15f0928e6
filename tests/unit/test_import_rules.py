"""Imports point inwards, as docs and architecture say: read from the source, so that a lazy import counts as well."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVICES = ("customers", "wallets", "jobs")
# The files of a service that hold its rules: they know no transport and no database.
DOMAIN_FILES = (
    "domain.py",
    "errors.py",
    "repository.py",
    "service.py",
    "ledger.py",
    "completion.py",
    "leasing.py",
    "submission.py",
    "payloads.py",
    "job_types.py",
    "job_type_service.py",
    "run_service.py",
    "statistics.py",
)
STUBS = tuple(f"innosystem.{package}" for package in ("customers", "wallets", "jobs", "options"))
DATABASE_FILES = ("repository_sql.py", "models.py", "statements.py")


def imported(source: str) -> Iterator[str]:
    """All modules that a source imports, also inside functions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def begins_with(module: str, packages: tuple[str, ...]) -> bool:
    """Whether a module is one of the packages or inside one."""
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def violations(source: str, forbidden: tuple[str, ...], but: tuple[str, ...] = ()) -> list[str]:
    """The imports of a source that are forbidden to it."""
    return [name for name in imported(source) if begins_with(name, forbidden) and not begins_with(name, but)]


def sources(folder: str) -> list[Path]:
    """The hand-written sources below a folder."""
    found = sorted((ROOT / folder).rglob("*.py"))
    assert found, f"{folder} holds no sources"
    return [path for path in found if "_pb2" not in path.name]


def check(paths: list[Path], forbidden: tuple[str, ...], but: tuple[str, ...] = ()) -> None:
    """Fails with every forbidden import of the sources."""
    found = {
        str(path.relative_to(ROOT)): wrong
        for path in paths
        if (wrong := violations(path.read_text(encoding="utf-8"), forbidden, but))
    }
    assert not found


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_imports_no_other_service(service: str) -> None:
    others = tuple(f"services.{other}" for other in (*SERVICES, "cli") if other != service)
    check(sources(f"services/{service}"), others)


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


def test_a_forbidden_import_is_found_wherever_it_stands() -> None:
    source = "def f():\n    from services.wallets import domain\n    import sqlalchemy.orm\nfrom services import jobs\n"
    found = violations(source, ("services", "sqlalchemy"))
    assert sorted(found) == ["services.jobs", "services.wallets.domain", "sqlalchemy.orm"]
    assert violations(source, ("services",), but=("services.wallets",)) == ["services.jobs"]
    assert violations("import servicesque\n", ("services",)) == []
