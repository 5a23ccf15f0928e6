"""Misspelt settings, told apart from variables that are none of ours."""

import pytest

from innosystem.shared.settings_names import SETTINGS, misspelt


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("RUNNER_CONCURENCY", "RUNNER_CONCURRENCY"),
        ("RUNNER_CONCURERNCY", "RUNNER_CONCURRENCY"),
        ("JOBS_DATABSE_URL", "JOBS_DATABASE_URL"),
        ("JOB_DATABASE_URL", "JOBS_DATABASE_URL"),
        ("JOBS_DATABASE_URI", "JOBS_DATABASE_URL"),
        ("WALLETS_DATABASE_OWNERURL", "WALLETS_DATABASE_OWNER_URL"),
        ("REDIS_URI", "REDIS_URL"),
        ("RUNNER_QUEUE", "RUNNER_QUEUES"),
        ("RUNNER_LEASE", "RUNNER_LEASE_SECONDS"),
        ("LOG_LEVLE", "LOG_LEVEL"),
        ("JOBS_LISTEN_ADRESS", "JOBS_LISTEN_ADDRESS"),
        ("runner_concurency", "RUNNER_CONCURRENCY"),
    ],
)
def test_a_misspelt_setting_is_named_with_the_nearest_one(name: str, meant: str) -> None:
    assert misspelt([name]) == {name: meant}


# The port of a Service that is called job-reuse looks like JOBS_REUSE_PORT.
@pytest.mark.parametrize("service", ["JOBS", "WALLETS", "CUSTOMERS", "REDIS", "RUNNER", "JOB_REUSE"])
def test_variables_of_kubernetes_are_none_of_ours(service: str) -> None:
    names = [
        *(f"{service}_SERVICE_HOST", f"{service}_SERVICE_PORT", f"{service}_SERVICE_PORT_GRPC", f"{service}_PORT"),
        *(f"{service}_PORT_50053_TCP{part}" for part in ("", "_ADDR", "_PORT", "_PROTO")),
    ]
    assert misspelt(names) == {}


@pytest.mark.parametrize(
    "name",
    [
        *("PATH", "HOME", "PGPASSWORD", "DATABASE_URL", "LOGNAME", "LOG_DIR", "REDIS_PASSWORD", "REDIS_HOST"),
        *("JOBS_DATABASE_PASSWORD", "JOBS_DATABASE_USER", "JOBS_DATABASE_NAME", "JOBS", "JOBS_", "INNOSYSTEM_VERSION"),
        *("INNOSYSTEM_CRASH_AT", "INNOSYSTEM_SUPERVISOR_NUMBER", "INNOSYSTEM_SUPERVISOR_SOCKET"),
    ],
)
def test_variables_that_are_not_close_to_a_setting_are_left_alone(name: str) -> None:
    assert misspelt([name]) == {}


def test_settings_themselves_are_spelt_right() -> None:
    assert misspelt([*SETTINGS, *(name.lower() for name in SETTINGS)]) == {}
