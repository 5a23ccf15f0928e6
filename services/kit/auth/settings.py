"""Settings of authentication: INNOSYSTEM_AUTH and so on."""

from typing import Literal

from pydantic_settings import BaseSettings

from services.kit.auth.authentication import OFF, Authentication
from services.kit.settings import ENVIRONMENT, load


class AuthSettings(BaseSettings):
    """Who may call: INNOSYSTEM_AUTH.

    Attributes:
        auth: `on` if callers have to authenticate, `off` if everybody who reaches the port may do everything.
    """

    model_config = ENVIRONMENT

    auth: Literal["on", "off"] = "off"


def authentication() -> Authentication:
    """Return how callers prove who they are, by the settings of the environment.

    Raises:
        StartupError: If environment variables are wrong; names each of them.
    """
    settings = load(AuthSettings, "INNOSYSTEM_")
    return OFF if settings.auth == "off" else Authentication(required=True)
