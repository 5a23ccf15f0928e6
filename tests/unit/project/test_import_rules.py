"""Imports point inwards, folder by folder, as docs/contributing.md says: directly, through others, and in no circle."""

import subprocess
import sys
from pathlib import Path

import pytest

from services import SERVICES
from tests.support.sources import ROOT, circle, graph, imports, imports_of, module_name, modules

STUBS = tuple(f"innosystem.{package}" for package in (*SERVICES, "options"))
TRANSPORT = ("grpc", "google", *STUBS)
DATABASE = ("sqlalchemy", "psycopg", "alembic")
DRIVERS = (*DATABASE, "redis")
OURS = ("services", "tools", "tests", "scripts")
# For each folder of a service: which others it may not import, and which packages.
LAYERS = {
    "rules": (("usecases", "background", "store", "clients", "rpc"), (*TRANSPORT, *DRIVERS)),
    "usecases": (("background", "store", "clients", "rpc"), (*TRANSPORT, *DRIVERS)),
    "background": (("store", "clients", "rpc"), (*TRANSPORT, *DRIVERS)),
    "store": (("background", "clients", "rpc"), (*TRANSPORT, "redis")),
    "clients": (("background", "store", "rpc"), DATABASE),
    "rpc": (("background", "store", "clients"), DRIVERS),
}
# These hold the layers together, and are imported by none of them.
LOOSE = ("__main__", "settings")
MODULES = modules()


def begins_with(module: str, packages: tuple[str, ...]) -> bool:
    """Whether a module is one of the packages or inside one."""
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def below(package: str) -> dict[str, Path]:
    """All modules of a package."""
    found = {name: path for name, path in MODULES.items() if begins_with(name, (package,))}
    assert found, f"{package} holds no modules"
    return found


def check(found: dict[str, Path], forbidden: tuple[str, ...], but: tuple[str, ...] = ()) -> None:
    """Fails with every forbidden import of the modules."""
    wrong = {
        name: bad
        for name, path in found.items()
        if (bad := [one for one in imports_of(name, path) if begins_with(one, forbidden) and not begins_with(one, but)])
    }
    assert not wrong


def layers() -> list[tuple[str, str]]:
    """Each folder of each service that is a layer."""
    return [(service, layer) for service in SERVICES for layer in LAYERS if f"services.{service}.{layer}" in MODULES]


@pytest.mark.parametrize(("service", "layer"), layers())
def test_a_layer_imports_only_what_is_further_in(service: str, layer: str) -> None:
    outer, packages = LAYERS[layer]
    names = tuple(f"services.{service}.{one}" for one in (*outer, *LOOSE))
    check(below(f"services.{service}.{layer}"), (*names, *packages))


@pytest.mark.parametrize("service", SERVICES)
def test_a_store_knows_of_use_cases_only_their_ports(service: str) -> None:
    usecases = f"services.{service}.usecases"
    check(below(f"services.{service}.store"), (usecases,), but=(f"{usecases}.ports",))


@pytest.mark.parametrize("service", SERVICES)
def test_every_folder_of_a_service_is_a_layer(service: str) -> None:
    folders = {path.parent.name for path in (ROOT / "services" / service).glob("*/*.py")}
    assert folders <= {*LAYERS, "migrations"}


@pytest.mark.parametrize("layer", ["rules", "usecases"])
@pytest.mark.parametrize("service", SERVICES)
def test_what_a_rule_or_use_case_imports_loads_neither_transport_nor_driver(service: str, layer: str) -> None:
    """In a fresh interpreter, in which those can't be imported: the traceback shows by which way one came."""
    names = sorted(below(f"services.{service}.{layer}"))
    program = (
        "import importlib, sys\n"
        f"sys.modules.update(dict.fromkeys({['grpc', 'google.protobuf', *DRIVERS]!r}))\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_imports_no_other_service_and_no_tool(service: str) -> None:
    others = tuple(f"services.{other}" for other in SERVICES if other != service)
    check(below(f"services.{service}"), (*others, "tools", "tests", "scripts"))


@pytest.mark.parametrize("service", SERVICES)
def test_of_a_service_only_its_store_knows_the_database(service: str) -> None:
    allowed = tuple(f"services.{service}.{one}" for one in ("store", "migrations"))
    check(
        {name: path for name, path in below(f"services.{service}").items() if not begins_with(name, allowed)}, DATABASE
    )


def test_the_kit_imports_no_service() -> None:
    check(below("services.kit"), OURS, but=("services.kit", "services.SERVICES", "services.Service"))


def test_the_kit_knows_of_the_contract_only_its_options() -> None:
    check(below("services.kit"), STUBS, but=("innosystem.options",))


def test_in_the_kit_only_data_and_migrations_know_the_database() -> None:
    allowed = ("services.kit.data", "services.kit.migrations")
    check({name: path for name, path in below("services.kit").items() if not begins_with(name, allowed)}, DATABASE)


def test_the_runner_imports_of_ours_only_the_sdk() -> None:
    check(below("innosystem.runner"), OURS)


def test_the_sdk_imports_nothing_of_ours_but_itself() -> None:
    check(below("innosystem.client"), (*OURS, "innosystem.runner"))


def test_a_tool_imports_no_tool_that_uses_it() -> None:
    check(below("tools.local"), ("tools.cli", "tools.demo", "tools.bench", "tools.verify"))
    for one in ("demo", "bench", "verify"):
        others = tuple(f"tools.{other}" for other in ("demo", "bench", "verify") if other != one)
        check(below(f"tools.{one}"), ("tools.cli", *others))


def test_the_check_of_all_books_takes_from_the_services_only_the_wallets_own_check() -> None:
    allowed = (
        "services.kit",
        "services.wallets.rules",
        "services.wallets.store",
        "services.wallets.usecases.verify_ledger",
    )
    check(below("tools.verify"), ("services", "tools.local", *STUBS), but=allowed)


def test_of_the_check_of_all_books_only_its_store_knows_the_database() -> None:
    paths = {
        name: path for name, path in below("tools.verify").items() if not begins_with(name, ("tools.verify.store",))
    }
    check(paths, ("grpc", *DATABASE, "services.kit.data.engine", "services.wallets.store"))


def test_of_the_command_only_the_migrations_part_knows_sqlalchemy() -> None:
    # It tells the errors of the migrations' driver apart, to report each in one line.
    paths = {name: path for name, path in below("tools.cli").items() if name != "tools.cli.commands.migrate"}
    check(paths, ("sqlalchemy",))


def test_what_runs_in_the_environment_of_the_peers_imports_nothing_of_ours() -> None:
    check(below("tools.bench.peers.peerwork"), (*OURS, "innosystem"), but=("tools.bench.peers.peerwork",))


def room(module: str) -> str:
    """The part of the project that a module belongs to: a folder of a service, of the kit or of the tools."""
    parts = module.split(".")
    path = MODULES[module]
    depth = 2 if parts[0] == "tools" else 3
    return ".".join(parts[:depth]) if len(parts) >= depth or path.name == "__init__.py" else module


def test_no_module_imports_itself_through_others() -> None:
    assert circle(graph(MODULES)) == []


def test_no_folder_imports_itself_through_others() -> None:
    edges: dict[str, set[str]] = {}
    for module, imported in graph(MODULES).items():
        edges.setdefault(room(module), set()).update(room(one) for one in imported)
    assert circle({name: imported - {name} for name, imported in edges.items() if "innosystem" not in name}) == []


def test_no_folder_of_the_services_is_a_list_of_names() -> None:
    held: dict[Path, int] = {}
    for name, path in MODULES.items():
        if name.startswith("services.") and path.name != "__init__.py":
            held[path.parent] = held.get(path.parent, 0) + 1
    assert {folder: count for folder, count in held.items() if count > 13} == {}


def test_a_forbidden_import_is_found_wherever_it_stands() -> None:
    source = "def f():\n    from services.wallets import rules\n    import sqlalchemy.orm\nfrom services import jobs\n"
    assert sorted(imports(source)) == ["services.jobs", "services.wallets.rules", "sqlalchemy.orm"]
    assert not begins_with("servicesque", ("services",))


def test_a_relative_import_is_found_by_what_it_leads_to() -> None:
    source = "from ..wallets import rules\nfrom . import store\n"
    assert list(imports(source, "services.jobs")) == ["services.wallets.rules", "services.jobs.store"]


def test_a_module_has_the_name_it_is_imported_by() -> None:
    assert module_name(ROOT / "services/jobs/rules/__init__.py", ROOT) == "services.jobs.rules"
    assert module_name(ROOT / "runner/src/innosystem/runner/queue.py", ROOT / "runner/src") == "innosystem.runner.queue"


def test_a_circle_is_found_and_a_diamond_is_none() -> None:
    assert circle({"a": {"b", "c"}, "b": {"d"}, "c": {"d"}, "d": set()}) == []
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"d"}, "d": {"b"}}) == ["b", "c", "d", "b"]
    assert circle({"a": {"a"}}) == ["a", "a"]
