"""Settings of the wallets service."""

from pydantic import Field, PositiveFloat
from pydantic_settings import BaseSettings

from services.kit.settings import ENVIRONMENT, ServerSettings


class WalletsServerSettings(ServerSettings):
    """The settings of the server, such as WALLETS_LISTEN_ADDRESS."""

    listen_address: str = "127.0.0.1:50052"


class VerificationSettings(BaseSettings):
    """The settings of the check of the books in the background: WALLETS_VERIFY_SECONDS.

    Attributes:
        verify_seconds: The pause between two walks; 0 switches them off.
    """

    model_config = ENVIRONMENT

    verify_seconds: float = Field(default=300, ge=0)


class RetentionSettings(BaseSettings):
    """The settings of the retention of ended holds: WALLETS_HOLDS_RETENTION_DAYS.

    Attributes:
        holds_retention_days: Longer than JOBS_RETENTION_DAYS: the hold of each stored job can be looked up.
    """

    model_config = ENVIRONMENT

    holds_retention_days: PositiveFloat = 90
