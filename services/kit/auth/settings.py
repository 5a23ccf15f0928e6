"""Settings of authentication: INNOSYSTEM_AUTH and so on."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt, SecretStr
from pydantic_settings import BaseSettings

from innosystem.client import Token, token_of
from innosystem.client.credentials import TOKEN_FILE_VARIABLE, TOKEN_VARIABLE
from services.kit.auth.authentication import OFF, Authentication, Bearers
from services.kit.auth.certificates import Certificates
from services.kit.auth.grants import AUDIENCE, ISSUER, Callers, check_keys, read_callers
from services.kit.auth.sources import Source, SourceError, Sources, is_address, source_of
from services.kit.auth.tokens import Limits, SignedTokens, Trusted
from services.kit.settings import ENVIRONMENT, StartupError, load


def _file(where: str) -> str:
    if is_address(where):
        raise ValueError("must be the name of a file")
    return where


class AuthSettings(BaseSettings):
    """Who may call: INNOSYSTEM_AUTH and INNOSYSTEM_AUTH_KEYS, ..._ISSUER, ..._AUDIENCE, ..._MAPPING and so on.

    Attributes:
        auth: `on` if callers have to authenticate, `off` if everybody who reaches the port may do everything.
        auth_keys: The public keys of the platform's own tokens: the JSON Web Key Set that `innosystem tokens keys
            create` makes, or an https address with one.
        auth_issuer: The issuer of the platform's own tokens.
        auth_audience: The audience that tokens must be for.
        auth_mapping: A file that says who callers with tokens of other issuers, and with certificates, are; read again
            when it changes.
        auth_trust_domain: The trust domain of the platform's certificates: `spiffe://<trust domain>/<kind>/<name>`.
        auth_keys_seconds: How often keys are read again from an address. Files are read every second.
        auth_keys_kept_seconds: How long the last good keys, or mapping, remain in use that can't be read again.
        auth_token_seconds_max: The longest life of a token, from its issue to its end.
        auth_clock_skew_seconds: How far the clock of an issuer may differ.
    """

    model_config = ENVIRONMENT

    auth: Literal["on", "off"] = "on"
    auth_keys: Annotated[str, AfterValidator(check_keys)] = ""
    auth_issuer: str = ISSUER
    auth_audience: str = AUDIENCE
    auth_mapping: Annotated[str, AfterValidator(_file)] = ""
    auth_trust_domain: str = ""
    auth_keys_seconds: PositiveFloat = 300
    auth_keys_kept_seconds: PositiveFloat = 86_400
    auth_token_seconds_max: PositiveFloat = 604_800
    auth_clock_skew_seconds: Annotated[int, Field(ge=0)] = 30

    @property
    def is_enough(self) -> bool:
        """Whether there is a way to authenticate."""
        return bool(self.auth_keys or self.auth_mapping or self.auth_trust_domain)


class TokenSettings(BaseSettings):
    """With which token a service calls other services: INNOSYSTEM_TOKEN, INNOSYSTEM_TOKEN_FILE.

    Attributes:
        token: The token.
        token_file: A file with the token, which is read again when it changes; in place of the token.
    """

    model_config = ENVIRONMENT

    token: SecretStr = SecretStr("")
    token_file: str = ""


class ApiKeySettings(BaseSettings):
    """What a service remembers of customers' API keys: INNOSYSTEM_API_KEY_TTL_SECONDS and so on.

    Attributes:
        ttl_seconds: How long a key is used without another lookup: a revoked one works for at most as long.
        stale_seconds: How much longer it is used while the customers service does not respond. Open streams last as
            long when their credentials can't be checked.
        deadline_seconds: The time limit of a lookup: how long a call with an unknown key waits for a frozen service.
        cache_size: How many keys are remembered.
    """

    model_config = ENVIRONMENT

    ttl_seconds: float = Field(default=5, gt=0, le=5)
    stale_seconds: float = Field(default=30, ge=0, le=600)
    deadline_seconds: PositiveFloat = 1.5
    cache_size: PositiveInt = 10_000


def own_token() -> Token:
    """Return the token with which this service calls others.

    Raises:
        StartupError: Both a token and a file are set, or the file can't be read.
    """
    settings = load(TokenSettings, "INNOSYSTEM_")
    given = {TOKEN_VARIABLE: settings.token.get_secret_value(), TOKEN_FILE_VARIABLE: settings.token_file}
    try:
        return token_of(given)
    except ValueError as error:
        raise StartupError(str(error)) from None


def authentication(*others: Bearers) -> Authentication:
    """Return how callers prove who they are, by the settings of the environment.

    Reads the keys and the mapping, which takes seconds if an address does not respond: for the start of a process.

    Args:
        others: Further kinds of bearer tokens, such as API keys.

    Raises:
        StartupError: If environment variables are wrong, or a file can't be read; names each of them.
    """
    settings = load(AuthSettings, "INNOSYSTEM_")
    if settings.auth == "off":
        return OFF
    if not settings.is_enough:
        raise StartupError(
            "INNOSYSTEM_AUTH is on, and no caller could authenticate: set INNOSYSTEM_AUTH_KEYS to the public keys that "
            "`innosystem tokens keys create` makes, or INNOSYSTEM_AUTH_MAPPING, or INNOSYSTEM_AUTH_TRUST_DOMAIN"
        )
    sources = Sources()
    try:
        callers = callers_of(settings, sources)
        tokens = signed_tokens(settings, callers, sources)
        tokens.load()
    except SourceError as error:
        raise StartupError(f"INNOSYSTEM_AUTH is on, and its keys or its mapping can't be read: {error}") from None
    return Authentication(
        required=True,
        bearers=(tokens, *others),
        certificate=Certificates(settings.auth_trust_domain, callers),
        refresh=sources.round,
        unchecked_seconds=load(ApiKeySettings, "INNOSYSTEM_API_KEY_").stale_seconds,
    )


def signed_tokens(settings: AuthSettings, callers: Source[Callers] | None, sources: Sources) -> SignedTokens:
    """Return how signed tokens are checked, by settings."""
    return SignedTokens(
        Trusted(name=settings.auth_issuer, audience=settings.auth_audience, keys=settings.auth_keys),
        callers,
        sources,
        Limits(
            life_seconds_max=settings.auth_token_seconds_max,
            clock_skew_seconds=settings.auth_clock_skew_seconds,
            keys_seconds=settings.auth_keys_seconds,
            keys_kept_seconds=settings.auth_keys_kept_seconds,
        ),
    )


def callers_of(settings: AuthSettings, sources: Sources) -> Source[Callers] | None:
    """Read the mapping that settings name, and read it again when it changes; None if they name none.

    Raises:
        SourceError: If it can't be read.
    """
    if not settings.auth_mapping:
        return None
    source = source_of(settings.auth_mapping, read_callers, kept_seconds=settings.auth_keys_kept_seconds)
    source.load()
    sources.add(source)
    return source
