"""Checks of the Dockerfile and compose.yaml that need no container."""

import re
import tomllib
from functools import cache
from pathlib import Path

import pytest
from pydantic_settings import BaseSettings

from innosystem.runner.settings import RunnerSettings
from services.customers.settings import CustomersServerSettings
from services.jobs.settings import (
    HousekeepingSettings,
    JobsServerSettings,
    WalletsClientSettings,
)
from services.kit.auth.settings import AuthSettings, TokenSettings
from services.kit.settings import (
    ChargeKeySettings,
    CustomersClientSettings,
    DatabaseSettings,
    LogSettings,
    RedisSettings,
    ServerSettings,
    TransportSettings,
)
from services.wallets.settings import WalletsServerSettings
from tests.e2e.deployment import (
    DEPLOY,
    ROOT,
    Service,
    compose,
    dockerfile,
    example_settings,
    exec_form,
    is_ignored,
    is_ours,
    secrets,
    variables,
)
from tools.local.credentials import create_credentials
from tools.local.environment import owner_variable

OURS = ("migrate", "customers", "wallets", "jobs", "runner")
SERVERS: dict[str, type[ServerSettings]] = {
    "customers": CustomersServerSettings,
    "wallets": WalletsServerSettings,
    "jobs": JobsServerSettings,
}


@cache
def stack() -> dict[str, Service]:
    return compose({})


def settings_of(service: str) -> dict[str, bool]:
    """The environment variables that a process reads, and whether it needs them."""
    databases = SERVERS if service == "migrate" else [service] if service in SERVERS else []
    read: list[tuple[str, type[BaseSettings]]] = [("LOG_", LogSettings), ("INNOSYSTEM_", TransportSettings)]
    read += [(f"{each.upper()}_DATABASE_", DatabaseSettings) for each in databases]
    if service in SERVERS:
        read.append((f"{service.upper()}_", SERVERS[service]))
        read += [
            ("INNOSYSTEM_", AuthSettings),
            ("INNOSYSTEM_", TokenSettings),
            ("INNOSYSTEM_CHARGE_", ChargeKeySettings),
        ]
    if service == "customers":
        read.append(("REDIS_", RedisSettings))
    if service == "wallets":
        read.append(("CUSTOMERS_", CustomersClientSettings))
    if service == "jobs":
        read += [
            ("REDIS_", RedisSettings),
            ("CUSTOMERS_", CustomersClientSettings),
            ("WALLETS_", WalletsClientSettings),
            ("JOBS_", HousekeepingSettings),
        ]
    if service == "runner":
        read = [("", RunnerSettings)]
    found = {
        f"{prefix}{name}".upper(): field.is_required()
        for prefix, kind in read
        for name, field in kind.model_fields.items()
    }
    # Only migrations know the owners of the databases.
    return found | ({owner_variable(each): True for each in SERVERS} if service == "migrate" else {})


def seconds(duration: str) -> float:
    number, unit = re.fullmatch(r"(\d+)(s|m)", duration).groups()  # type: ignore[union-attr] # an error is a failure
    return float(number) * {"s": 1, "m": 60}[unit]


def test_the_image_does_not_run_as_root() -> None:
    uid, gid = dockerfile()[-1].one("USER").split(":")
    assert int(uid) > 0
    assert int(gid) > 0


def test_the_image_is_built_from_the_environment_alone() -> None:
    build, image = dockerfile()
    assert not image.all("RUN")
    assert image.image == build.image
    (installed,) = [line for line in image.all("COPY") if "--from" in line]
    assert installed == f"--from={build.name} /opt/innosystem /opt/innosystem"


def test_commands_are_in_exec_form_and_the_image_stops_on_sigterm() -> None:
    build, image = dockerfile()
    for arguments in [*build.all("RUN"), *image.all("CMD"), image.one("HEALTHCHECK").split(" CMD ")[1]]:
        assert exec_form(arguments)
    assert image.one("STOPSIGNAL") == "SIGTERM"
    assert image.environment["PYTHONUNBUFFERED"] == "1"


def test_every_image_is_pinned_by_a_tag() -> None:
    images = [stage.image for stage in dockerfile()] + [service["image"] for service in stack().values()]
    for image in images:
        name, _, tag = image.partition(":")
        assert re.match(r"\d", tag), f"{name} has no version"


def test_our_image_is_built_once_and_has_the_version_of_the_platform() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert {stack()[name]["image"] for name in OURS} == {f"innosystem:{version}"}
    (build,) = [service["build"] for service in stack().values() if "build" in service]
    assert (DEPLOY / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]).is_file()


def test_all_our_processes_are_there_and_locked_down() -> None:
    assert {name for name, service in stack().items() if is_ours(service)} == set(OURS)
    for name in OURS:
        assert stack()[name]["read_only"] is True
        assert stack()[name]["cap_drop"] == ["ALL"]
        assert stack()[name]["restart"] == ("no" if name == "migrate" else "unless-stopped")


@pytest.mark.parametrize("name", OURS)
def test_every_environment_variable_is_a_setting_and_none_that_is_needed_is_missing(name: str) -> None:
    known = settings_of(name)
    given = set(stack()[name]["environment"])
    assert given <= set(known)
    assert {variable for variable, needed in known.items() if needed} - {f"{name.upper()}_LISTEN_ADDRESS"} <= given


def test_services_listen_where_others_dial_them_and_where_the_port_is_published() -> None:
    for name in SERVERS:
        listens = stack()[name]["environment"][f"{name.upper()}_LISTEN_ADDRESS"]
        host, port = listens.split(":")
        assert host == "0.0.0.0"
        assert stack()[name]["ports"] == [f"127.0.0.1:{port}:{port}"]
        variable = f"{name.upper()}_ADDRESS"
        dialled = {service["environment"].get(variable) for service in stack().values() if is_ours(service)}
        assert dialled - {None} == {f"{name}:{port}"}


def test_a_runner_gets_no_secret_but_its_own_token_and_each_secret_is_one_that_the_command_makes(
    tmp_path: Path,
) -> None:
    create_credentials(tmp_path / "credentials")
    assert all((tmp_path / file).is_file() for file in secrets().values())
    assert stack()["runner"]["secrets"] == ["runner-token"]
    for name in OURS:
        paths = {value for value in stack()[name]["environment"].values() if str(value).startswith("/run/secrets/")}
        assert paths == {f"/run/secrets/{one}" for one in stack()[name].get("secrets", ())}


def test_processes_get_more_time_to_stop_than_they_take() -> None:
    for name, kind in SERVERS.items():
        assert seconds(stack()[name]["stop_grace_period"]) > kind.model_fields["drain_seconds"].default
    drain_seconds = RunnerSettings.model_fields["runner_drain_seconds"].default
    assert seconds(stack()["runner"]["stop_grace_period"]) > drain_seconds


def test_nothing_serves_before_its_database_is_migrated() -> None:
    assert stack()["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    for name in SERVERS:
        assert stack()[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    for service in stack().values():
        for other, how in service.get("depends_on", {}).items():
            healthy = how["condition"] == "service_healthy"
            assert not healthy or not stack()[other].get("healthcheck", {}).get("disable")


def test_data_outlives_containers_and_redis_neither_forgets_nor_evicts() -> None:
    assert "postgres:/var/lib/postgresql" in stack()["postgres"]["volumes"]
    assert "redis:/data" in stack()["redis"]["volumes"]
    options = stack()["redis"]["command"][1:]
    assert dict(zip(options[::2], options[1::2], strict=True)) == {
        "--appendonly": "yes",
        "--appendfsync": "everysec",
        "--maxmemory-policy": "noeviction",
    }


def test_the_example_settings_are_those_of_compose() -> None:
    assert example_settings() == variables()


def test_secrets_and_leftovers_stay_out_of_the_build_context() -> None:
    for path in (
        ".env",
        "deploy/.env",
        "deploy/credentials/signing-key.json",
        "services/.env",
        ".git/config",
        ".innosystem/postgres/PG_VERSION",
        "sdk/src/innosystem/jobs/v1/job_pb2.py",
        "services/jobs/__pycache__/service.cpython-311.pyc",
        "tests/e2e/deployment.py",
    ):
        assert is_ignored(path), path
    for path in (
        "sdk/src/innosystem/client/__init__.py",
        "sdk/src/innosystem/shared/__init__.py",
        "services/jobs/usecases/submission/submit.py",
        "deploy/install",
        "README.md",
    ):
        assert not is_ignored(path), path
