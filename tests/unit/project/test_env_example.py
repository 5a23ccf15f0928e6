"""`.env.example` names every setting, with the default that is in force."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel
from pydantic_settings import BaseSettings

from innosystem.runner.settings import RunnerSettings
from innosystem.shared.settings_names import SECRETS
from innosystem.shared.settings_names import SETTINGS as NAMES
from services.customers.settings import CustomersServerSettings
from services.jobs.settings import (
    CallbackSettings,
    HousekeepingSettings,
    JobsServerSettings,
    SchemaSettings,
    WalletsClientSettings,
)
from services.kit.auth.settings import ApiKeySettings, AuthSettings, TokenSettings
from services.kit.limits.settings import LimitSettings
from services.kit.settings import (
    CacheSettings,
    ChargeKeySettings,
    CustomersClientSettings,
    DatabaseSettings,
    LogSettings,
    RedisSettings,
    ServerSettings,
    TransportSettings,
)
from services.wallets.settings import RetentionSettings, VerificationSettings, WalletsServerSettings

TEXT = (Path(__file__).parents[3] / ".env.example").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"^#([A-Z_]+)=(.*)$", TEXT, flags=re.MULTILINE))

# Addresses and modules are examples of what has no default, or one of the machine.
WITHOUT_DEFAULT = {"CUSTOMERS_DATABASE_URL", "REDIS_URL", "RUNNER_HANDLERS", "RUNNER_PROCESSES"}

SETTINGS: list[tuple[type[BaseSettings], str]] = [
    (LogSettings, "LOG_"),
    (AuthSettings, "INNOSYSTEM_"),
    (LimitSettings, "INNOSYSTEM_LIMITS_"),
    (ApiKeySettings, "INNOSYSTEM_API_KEY_"),
    (TokenSettings, "INNOSYSTEM_"),
    (DatabaseSettings, "CUSTOMERS_DATABASE_"),
    (RedisSettings, "REDIS_"),
    (ChargeKeySettings, "INNOSYSTEM_CHARGE_"),
    (CacheSettings, "JOBS_CACHE_"),
    (CustomersServerSettings, "CUSTOMERS_"),
    (CustomersClientSettings, "CUSTOMERS_"),
    (WalletsClientSettings, "WALLETS_"),
    (VerificationSettings, "WALLETS_"),
    (RetentionSettings, "WALLETS_"),
    (HousekeepingSettings, "JOBS_"),
    (SchemaSettings, "JOBS_SCHEMA_"),
    (CallbackSettings, "JOBS_CALLBACK_"),
    (TransportSettings, "INNOSYSTEM_"),
    (RunnerSettings, ""),
]


@pytest.mark.parametrize(("kind", "prefix"), SETTINGS, ids=lambda value: getattr(value, "__name__", value))
def test_every_setting_is_in_the_example_with_its_default(kind: type[BaseModel], prefix: str) -> None:
    for name, field in kind.model_fields.items():
        variable = prefix + name.upper()
        assert variable in EXAMPLES, f"{variable} is missing"
        if variable in WITHOUT_DEFAULT:
            continue
        default = field.default
        shown = ",".join(default) if isinstance(default, tuple) else str(default)
        assert EXAMPLES[variable].lower() == re.sub(r"\.0$", "", shown).lower(), variable


SERVICES = ("CUSTOMERS", "WALLETS", "JOBS")


def test_the_example_names_nothing_that_is_no_setting() -> None:
    known = {prefix + name.upper() for kind, prefix in SETTINGS for name in kind.model_fields}
    services = {f"{service}_DATABASE_URL" for service in ("WALLETS", "JOBS")}
    owners = {f"{service}_DATABASE_OWNER_URL" for service in ("CUSTOMERS", "WALLETS", "JOBS")}
    assert EXAMPLES.keys() - known - services - owners - {"CUSTOMERS_DATABASE_URL_FILE"} == set()


def test_the_list_of_names_has_every_setting_and_nothing_else() -> None:
    servers = {f"{service}_{name.upper()}" for service in SERVICES for name in ServerSettings.model_fields}
    databases = {f"{service}_DATABASE_{name.upper()}" for service in SERVICES for name in DatabaseSettings.model_fields}
    fields = {prefix + name.upper() for kind, prefix in SETTINGS for name in kind.model_fields}
    # The command alone reads these.
    others = {f"{service}_DATABASE_OWNER_URL" for service in SERVICES} | {
        "INNOSYSTEM_DEBUG",
        "INNOSYSTEM_CONTEXT",
        "INNOSYSTEM_CONFIG",
    }
    files = {f"{secret}_FILE" for secret in SECRETS}
    assert NAMES ^ (servers | databases | fields | EXAMPLES.keys() | others | files) == set()


def test_the_services_listen_where_clients_look_for_them() -> None:
    for kind, name in (
        (CustomersServerSettings, "CUSTOMERS"),
        (WalletsServerSettings, "WALLETS"),
        (JobsServerSettings, "JOBS"),
    ):
        port = kind.model_fields["listen_address"].default.rpartition(":")[2]
        assert EXAMPLES[f"{name}_ADDRESS"].rpartition(":")[2] == port
