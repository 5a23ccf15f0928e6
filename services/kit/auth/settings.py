"""Settings of authentication: INNOSYSTEM_AUTH and so on."""

from typing import Literal

from pydantic import SecretStr
from pydantic_settings import BaseSettings

from innosystem.client import Token, token_of
from innosystem.client.credentials import TOKEN_FILE_VARIABLE, TOKEN_VARIABLE
from services.kit.auth.authentication import OFF, Authentication
from services.kit.settings import ENVIRONMENT, StartupError, load


class AuthSettings(BaseSettings):
    """Who may call: INNOSYSTEM_AUTH.

    Attributes:
        auth: `on` if callers have to authenticate, `off` if everybody who reaches the port may do everything.
    """

    model_config = ENVIRONMENT

    auth: Literal["on", "off"] = "off"


class TokenSettings(BaseSettings):
    """With which token a service calls other services: INNOSYSTEM_TOKEN, INNOSYSTEM_TOKEN_FILE.

    Attributes:
        token: The token.
        token_file: A file with the token, which is read again when it changes; in place of the token.
    """

    model_config = ENVIRONMENT

    token: SecretStr = SecretStr("")
    token_file: str = ""


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


def authentication() -> Authentication:
    """Return how callers prove who they are, by the settings of the environment.

    Raises:
        StartupError: If environment variables are wrong; names each of them.
    """
    settings = load(AuthSettings, "INNOSYSTEM_")
    return OFF if settings.auth == "off" else Authentication(required=True)
