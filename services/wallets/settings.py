"""Settings of the wallets service."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.kit.settings import ServerSettings


class WalletsServerSettings(ServerSettings):
    """The server: WALLETS_LISTEN_ADDRESS and so on."""

    listen_address: str = "127.0.0.1:50052"


class VerificationSettings(BaseSettings):
    """The check of the books in the background: WALLETS_VERIFY_SECONDS.

    Attributes:
        verify_seconds: The pause between two walks; 0 for none at all.
    """

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True)

    verify_seconds: float = Field(default=300, ge=0)
