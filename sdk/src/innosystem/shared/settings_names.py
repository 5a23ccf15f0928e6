"""The names of all settings, and the misspelt ones in an environment.

Kubernetes adds variables such as JOBS_SERVICE_HOST for each of its Services, and others may share our prefixes for
reasons of their own. Therefore an unknown name is no error, and is reported only if it is close to a setting.
"""

import re
from collections.abc import Iterable
from itertools import product
from typing import Final

from innosystem.shared.transport import TRANSPORT

_SERVICES: Final = ("CUSTOMERS", "WALLETS", "JOBS")
_SERVER: Final = """
ADDRESS LISTEN_ADDRESS DRAIN_SECONDS DEADLINE_SECONDS_MAX CONCURRENT_CALLS_MAX CONCURRENT_STREAMS_MAX
CONNECTIONS_MAX CONNECTION_AGE_SECONDS MESSAGE_BYTES_MAX PROCESSES REUSE_PORT REFLECTION METRICS_LISTEN_ADDRESS
"""
_DATABASE: Final = """
URL OWNER_URL POOL_SIZE MAX_OVERFLOW POOL_TIMEOUT_SECONDS CONNECTION_LIFETIME_SECONDS CONNECT_TIMEOUT_SECONDS
STATEMENT_TIMEOUT_SECONDS LOCK_TIMEOUT_SECONDS LOCKED_ROW_SECONDS IDLE_IN_TRANSACTION_TIMEOUT_SECONDS
TCP_TIMEOUT_SECONDS POOLED CLOCK_SKEW_SECONDS_MAX SLOW_QUERY_SECONDS SCHEMA_CHECK
"""
_OTHERS: Final = """
REDIS_URL REDIS_COMMAND_TIMEOUT_SECONDS REDIS_CONNECTION_LIFETIME_SECONDS REDIS_KEY_PREFIX LOG_LEVEL LOG_FORMAT
JOBS_CACHE_SIZE JOBS_CACHE_TTL_SECONDS JOBS_WINDOW JOBS_HOUSEKEEPING_SECONDS JOBS_RECONCILE_SECONDS
JOBS_SETTLE_AFTER_SECONDS JOBS_HOLD_ORPHAN_SECONDS JOBS_RESCUE_GRACE_SECONDS JOBS_RESCUES_MAX JOBS_RESCUE_SHORT_SECONDS
JOBS_RESCUE_WAIT_SECONDS JOBS_RESCUE_WAIT_MAX_SECONDS JOBS_UNSERVED_WAIT_SECONDS JOBS_RETENTION_DAYS
JOBS_SCHEMA_CPU_SECONDS_MAX WALLETS_VERIFY_SECONDS WALLETS_HOLDS_RETENTION_DAYS RUNNER_HANDLERS RUNNER_QUEUES
RUNNER_CONCURRENCY RUNNER_PROCESSES RUNNER_LEASE_SECONDS RUNNER_STOP_SECONDS RUNNER_BLOCKED_SECONDS
RUNNER_REPORT_SECONDS RUNNER_CHARGE_SECONDS RUNNER_DRAIN_SECONDS RUNNER_WATCHDOG_SECONDS RUNNER_HEALTH_FILE
RUNNER_TOKEN RUNNER_TOKEN_FILE RUNNER_HTTP_ALLOWED_HOSTS RUNNER_HTTP_PRIVATE_NETWORKS RUNNER_HTTP_CA_FILE
RUNNER_SECRETS_DIR
RUNNER_METRICS_LISTEN_ADDRESS CUSTOMERS_DEADLINE_SECONDS WALLETS_DEADLINE_SECONDS INNOSYSTEM_DEBUG INNOSYSTEM_CONTEXT
INNOSYSTEM_CONFIG INNOSYSTEM_AUTH INNOSYSTEM_TOKEN INNOSYSTEM_TOKEN_FILE INNOSYSTEM_TLS_CERTIFICATE_FILE
INNOSYSTEM_TLS_KEY_FILE INNOSYSTEM_TLS_CLIENT_CA_FILE INNOSYSTEM_TLS_CA_FILE INNOSYSTEM_TLS_SERVER_NAME
INNOSYSTEM_TLS_METRICS INNOSYSTEM_PLAINTEXT INNOSYSTEM_CHARGE_KEYS INNOSYSTEM_CHARGE_KEYS_FILE INNOSYSTEM_AUTH_KEYS
INNOSYSTEM_AUTH_ISSUER INNOSYSTEM_AUTH_AUDIENCE INNOSYSTEM_AUTH_MAPPING INNOSYSTEM_AUTH_TRUST_DOMAIN
INNOSYSTEM_AUTH_KEYS_SECONDS INNOSYSTEM_AUTH_KEYS_KEPT_SECONDS INNOSYSTEM_AUTH_TOKEN_SECONDS_MAX
INNOSYSTEM_AUTH_CLOCK_SKEW_SECONDS
INNOSYSTEM_API_KEY_TTL_SECONDS INNOSYSTEM_API_KEY_STALE_SECONDS INNOSYSTEM_API_KEY_CACHE_SIZE
"""
_LIMITS: Final = """
CLIENT_REQUESTS CLIENT_SUBMISSIONS CLIENT_INPUT_BYTES_PER_DAY CLIENT_CALLS CLIENT_WATCHES OPERATOR_REQUESTS
OPERATOR_SUBMISSIONS OPERATOR_INPUT_BYTES_PER_DAY OPERATOR_CALLS OPERATOR_WATCHES RUNNER_REQUESTS RUNNER_CALLS
RUNNER_WATCHES SERVICE_REQUESTS SERVICE_CALLS SERVICE_WATCHES CUSTOMER_REQUESTS CUSTOMER_SUBMISSIONS
CUSTOMER_INPUT_BYTES_PER_DAY CUSTOMER_JOBS_WAITING
"""

#: Secret settings, each of which can be in a file: JOBS_DATABASE_URL_FILE names that of JOBS_DATABASE_URL.
SECRETS: Final = (
    *(f"{service}_DATABASE_{name}" for service, name in product(_SERVICES, ("URL", "OWNER_URL"))),
    "REDIS_URL",
)

#: All settings of services, runners and the command. Tests compare them with `.env.example` and the settings classes.
SETTINGS: Final = frozenset(
    {*_OTHERS.split()}
    | {f"{service}_{name}" for service, name in product(_SERVICES, _SERVER.split())}
    | {f"{service}_DATABASE_{name}" for service, name in product(_SERVICES, _DATABASE.split())}
    | {f"{secret}_FILE" for secret in SECRETS}
    | {f"INNOSYSTEM_LIMITS_{name}" for name in _LIMITS.split()}
)

#: The settings that name a platform. All others are settings of processes.
PLATFORM: Final = (
    *(f"{service}_ADDRESS" for service in _SERVICES),
    *(f"{service}_DATABASE_URL" for service in _SERVICES),
    *(f"{service}_DATABASE_OWNER_URL" for service in _SERVICES),
    "REDIS_URL",
    "REDIS_KEY_PREFIX",
)

#: The settings with which a command or a runner says who it is.
TOKENS: Final = ("INNOSYSTEM_TOKEN", "INNOSYSTEM_TOKEN_FILE", "RUNNER_TOKEN", "RUNNER_TOKEN_FILE")

#: Those, and the ones with which it protects its connections. They are a platform's, and name none.
CREDENTIALS: Final = (*TOKENS, *TRANSPORT)

_OURS: Final = re.compile(r"(CUSTOMERS?|WALLETS?|JOBS?|RUNNERS?|REDIS|LOGS?|INNOSYSTEM)_")
_OF_KUBERNETES: Final = re.compile(r".*_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)")
_EDITS_MAX: Final = 1.5


def misspelt(names: Iterable[str]) -> dict[str, str]:
    """Return the names that look like misspelt settings, each with the setting that was probably meant.

    Args:
        names: The names of variables, whatever their case: settings are read without regard to it.
    """
    suspects = [
        name
        for name in names
        if _OURS.match(name.upper()) and name.upper() not in SETTINGS and not _OF_KUBERNETES.fullmatch(name.upper())
    ]
    return {name: meant for name in sorted(suspects) if (meant := _nearest(name.upper()))}


def _nearest(name: str) -> str:
    import difflib

    # The unit is left out: RUNNER_LEASE.
    longer = [each for each in SETTINGS if each.startswith(f"{name}_")]
    if len(longer) == 1:
        return longer[0]
    return next(iter(difflib.get_close_matches(name, sorted(SETTINGS), 1, 1 - _EDITS_MAX / len(name))), "")
