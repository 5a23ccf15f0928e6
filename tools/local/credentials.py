"""The credentials of a platform: keys of its own, and tokens for its services, its runners and its operator."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

from services import SERVICES
from tools.local.private_files import private_folder

# A stack makes new tokens at each start. A shell that has read its `stack.env` keeps working across starts, because the
# key stays.
_TOKEN_LIFE: Final = timedelta(days=366)


@dataclass(frozen=True)
class Credentials:
    """The settings by which the processes of a platform know each other; empty where no authentication is wanted.

    Attributes:
        shared: Of all services.
        services: Of each service, by name: who it is.
        runner: Of the runners.
        operator: Of the operator's commands and programs.
    """

    shared: Mapping[str, str] = field(default_factory=dict)
    services: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    runner: Mapping[str, str] = field(default_factory=dict)
    operator: Mapping[str, str] = field(default_factory=dict)


def create_credentials(folder: Path, *, name: str = "local") -> Credentials:
    """Create tokens, and the keys of tokens and charges if there are none, in files that only this user can read.

    Args:
        folder: The folder of the credentials; created if it is missing. Each token is also in a file of its own there.
        name: The name of the runner and the operator.
    """
    from services.kit.auth.issuing import create_key, create_token
    from services.kit.auth.principal import Kind
    from services.kit.charges.keys import new_key

    private_folder(folder)
    key, public = folder / "signing-key.json", folder / "public-keys.json"
    if not (key.exists() and public.exists()):
        # Half a pair is of no use.
        key.unlink(missing_ok=True)
        public.unlink(missing_ok=True)
        create_key(key, public)

    charge_keys = folder / "charge-keys"
    if not charge_keys.exists():
        _write(charge_keys, new_key("first").line)

    def token(kind: Kind, name: str) -> str:
        return create_token(key, kind=kind, name=name, ttl=_TOKEN_LIFE)

    issued = {name: token(Kind.SERVICE, name) for name in SERVICES}
    runner, operator = token(Kind.RUNNER, name), token(Kind.OPERATOR, name)
    for each, text in {**issued, "runner": runner, "operator": operator}.items():
        _write(folder / f"{each}.token", text)
    return Credentials(
        shared={
            "INNOSYSTEM_AUTH": "on",
            "INNOSYSTEM_AUTH_KEYS": str(public),
            "INNOSYSTEM_CHARGE_KEYS_FILE": str(charge_keys),
            "INNOSYSTEM_AUTH_TOKEN_SECONDS_MAX": str(int(_TOKEN_LIFE.total_seconds())),
        },
        services={name: {"INNOSYSTEM_TOKEN": text} for name, text in issued.items()},
        runner={"RUNNER_TOKEN": runner},
        operator={"INNOSYSTEM_TOKEN": operator},
    )


def _write(file: Path, text: str) -> None:
    """Replace a file as a whole: a process that reads it again meanwhile finds the old token or the new one."""
    new = file.with_name(f".{file.name}")
    new.touch(mode=0o600)
    new.write_text(f"{text}\n", encoding="ascii")
    new.replace(file)
