"""`innosystem tokens`: the credentials of operators, services, runners and internal clients. It calls no service."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias
from uuid import UUID

from cyclopts import App, Parameter

from tools.cli.output import TABLE, Column, Columns, Output, print_one, printable
from tools.cli.secret_input import read_secret
from tools.cli.times import Duration, show_duration
from tools.errors import CommandError, UsageError

if TYPE_CHECKING:
    from services.kit.auth.settings import AuthSettings

app = App(name="tokens", help="Create tokens and their keys, and explain a token.")
keys = App(name="keys", help="Create or delete the keys that sign tokens.")
app.command(keys)

KeyFile: TypeAlias = Annotated[Path, Parameter(name="--key-file", help="The private key, which signs tokens.")]
PublicFile: TypeAlias = Annotated[
    Path, Parameter(name="--public-file", help="The public keys, which services need: INNOSYSTEM_AUTH_KEYS.")
]
_KEY_FILE = Path("signing-key.json")
_PUBLIC_FILE = Path("public-keys.json")

_COLUMNS = Columns((Column("name", lambda row, _: str(row["name"])),), name="name")


@app.command
def create(
    *,
    kind: Literal["client", "runner", "operator", "service"],
    name: str,
    ttl: Duration = timedelta(hours=1),
    queues: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    customers: Annotated[list[UUID] | None, Parameter(consume_multiple=True)] = None,
    key_file: KeyFile = _KEY_FILE,
) -> None:
    """Sign a token and print it: for INNOSYSTEM_TOKEN, or a file that INNOSYSTEM_TOKEN_FILE names.

    INNOSYSTEM_AUTH_ISSUER and INNOSYSTEM_AUTH_AUDIENCE must be those of the services.

    Args:
        kind: What the token's owner is.
        name: Its name among those of its kind: `operator/ada` in the audit trail is the operator `ada`.
        ttl: How long the token is valid, by default 1h. It can't be revoked before, except with its key.
        queues: The queues that a runner is bound to; by default all.
        customers: The IDs of the customers that a client is bound to; by default all.
    """
    from services.kit.auth.issuing import create_token
    from services.kit.auth.principal import Kind

    settings = _settings()
    ttl = ttl or timedelta()
    longest = timedelta(seconds=settings.auth_token_seconds_max)
    if ttl > longest:
        raise UsageError(
            f"--ttl {show_duration(ttl)}: services refuse tokens that are valid for more than "
            f"{show_duration(longest)}, the value of INNOSYSTEM_AUTH_TOKEN_SECONDS_MAX"
        )
    try:
        token = create_token(
            key_file,
            kind=Kind(kind.upper()),
            name=name,
            ttl=ttl,
            queues=queues,
            customers=customers,
            issuer=settings.auth_issuer,
            audience=settings.auth_audience,
        )
    except FileNotFoundError:
        raise CommandError(f"there is no key {key_file}: `innosystem tokens keys create` makes one") from None
    except ValueError as error:
        raise UsageError(_problem(error)) from None
    print(token)


@app.command
def platform(folder: Annotated[Path, Parameter(name="FOLDER")], /, *, name: str = "first") -> None:
    """Create all keys and tokens of a platform in a folder: signing keys, charge keys, a token for each process.

    Keys that are there stay, and tokens are made anew, valid for a year: services and runners read their files again.
    The folder is for this user only.

    Args:
        folder: The folder; created if it is missing.
        name: The name of the runner and of the operator.
    """
    from tools.local.credentials import create_credentials

    created = create_credentials(folder, name=name)
    print(f"Created keys and tokens in {folder}. Services need, besides their own token:")
    print("\n".join(f"{variable}={value}" for variable, value in created.shared.items()))


@app.command
async def show(
    token: Annotated[str, Parameter(name="TOKEN", show=False)] = "",
    /,
    *,
    public_keys: Annotated[str | None, Parameter(name="--public-keys")] = None,
    output: Output = TABLE,
) -> int:
    """Explain a token from standard input: who its owner is, how long it is valid, and whether services take it.

    The command checks it by the same settings as a service: INNOSYSTEM_AUTH_KEYS and so on. It ends with status 1 if
    services would refuse it.

    Args:
        token: Refused, as all users of a machine see arguments.
        public_keys: The file, or the address, with the public keys; by default INNOSYSTEM_AUTH_KEYS.
    """
    from services.kit.auth.tokens import TokenRefused, read_token

    if token:
        raise UsageError("a token is no argument, as all users of the machine see arguments: give it on standard input")
    text = read_secret("Token")
    settings = _settings(**({"auth_keys": public_keys} if public_keys else {}))
    try:
        header, claims = read_token(text)
    except TokenRefused as error:
        raise CommandError(f"no service takes it: {error}") from None
    verdict, is_refused = await _verdict(settings, text)
    row = {**_described(header, claims), "valid": verdict}
    shown = {name.replace("_", " "): printable(_words(value)) for name, value in row.items() if value is not None}
    print_one(row, _COLUMNS, output, pairs=shown)
    return int(is_refused)


@keys.command(name="create")
def create_keys(*, key_file: KeyFile = _KEY_FILE, public_file: PublicFile = _PUBLIC_FILE) -> None:
    """Create a key: a private file for its owner only, and a further key in the public file.

    To replace a key, create another one, let services read the public file (they do so within seconds), sign with the
    new key, and delete the old one when the last of its tokens has expired.
    """
    from services.kit.auth.issuing import create_key

    try:
        kid = create_key(key_file, public_file)
    except (FileExistsError, ValueError) as error:
        raise CommandError(str(error)) from None
    print(
        f"Created the key {kid}.\n"
        f"{key_file} is private: it signs tokens of every kind, operators too. Services need only {public_file}:\n"
        f"INNOSYSTEM_AUTH=on INNOSYSTEM_AUTH_KEYS={public_file.absolute()}"
    )


@keys.command(name="delete")
def delete_key(
    kid: Annotated[str, Parameter(name="KEY_ID", allow_leading_hyphen=True)],
    /,
    *,
    public_file: PublicFile = _PUBLIC_FILE,
) -> None:
    """Delete a public key, after which services refuse the tokens that it has signed.

    Args:
        kid: The ID of the key, as `innosystem tokens show` prints it.
    """
    from services.kit.auth.issuing import delete_key as delete

    try:
        delete(kid, public_file)
    except FileNotFoundError:
        raise CommandError(f"there is no file {public_file}: name it with --public-file") from None
    except KeyError:
        raise CommandError(f"{public_file} has no key {kid}") from None
    except ValueError as error:
        raise CommandError(str(error)) from None
    print(f"Deleted the key {kid} from {public_file}.")


def _settings(**given: Any) -> "AuthSettings":
    from services.kit.auth.settings import AuthSettings
    from services.kit.settings import StartupError, load

    try:
        return load(AuthSettings, "INNOSYSTEM_", **given)
    except StartupError as error:
        raise UsageError(str(error)) from None


async def _verdict(settings: "AuthSettings", token: str) -> tuple[str, bool]:
    """Return whether services take a token, in words, and whether they refuse it."""
    from services.kit.auth.settings import callers_of, signed_tokens
    from services.kit.auth.sources import SourceError, Sources
    from services.kit.auth.tokens import TokenRefused
    from services.kit.errors import DomainError
    from tools.cli.output import logs_on_stderr

    if not settings.auth_keys and not settings.auth_mapping:
        return "not checked: name the public keys with --public-keys, or by INNOSYSTEM_AUTH_KEYS", False
    sources = Sources()
    try:
        with logs_on_stderr():
            tokens = signed_tokens(settings, callers_of(settings, sources), sources)
            tokens.load()
            await tokens.verify(token)
    except TokenRefused as error:
        return f"no: {error}", True
    except (SourceError, DomainError) as error:
        raise CommandError(f"can't check it: {error}") from None
    return "yes", False


def _described(header: dict[str, Any], claims: dict[str, Any]) -> dict[str, Any]:
    """Return what a token says, whether or not it is true."""
    from services.kit.auth.grants import CLAIM

    grant = claims.get(CLAIM)
    grant = grant if isinstance(grant, dict) else {}
    return {
        "name": claims.get("sub"),
        "kind": grant.get("kind"),
        "customers": grant.get("customers"),
        "queues": grant.get("queues"),
        "issuer": claims.get("iss"),
        "audience": claims.get("aud"),
        "issued": _time(claims.get("iat")),
        "expires": _time(claims.get("exp")),
        "expires_in": _left(claims.get("exp")),
        "key_id": header.get("kid"),
        "algorithm": header.get("alg"),
    }


def _time(seconds: object) -> str | None:
    try:
        return datetime.fromtimestamp(float(str(seconds)), UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return None


def _left(seconds: object) -> str | None:
    at = _time(seconds)
    if at is None:
        return None
    left = datetime.fromisoformat(at) - datetime.now(UTC)
    return show_duration(timedelta(seconds=round(left.total_seconds())))


def _words(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _problem(error: ValueError) -> str:
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        return str(error)
    problems: Iterable[Any] = error.errors(include_input=False, include_url=False)
    return "; ".join(
        f"{'.'.join(map(str, one['loc'][:1]))} {one['msg'].removeprefix('Value error, ')}".strip() for one in problems
    )
