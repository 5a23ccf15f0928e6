"""Settings of the wallets service."""

from pydantic import Field, PositiveFloat
from pydantic_settings import BaseSettings

from services.kit.settings import ENVIRONMENT, ServerSettings


class WalletsServerSettings(ServerSettings):
    """The server: WALLETS_LISTEN_ADDRESS and so on."""

    listen_address: str = "127.0.0.1:50052"


class VerificationSettings(BaseSettings):
    """The check of the books in the background: WALLETS_VERIFY_SECONDS.

    Attributes:
        verify_seconds: The pause between two walks; 0 for none at all.
    """

    model_config = ENVIRONMENT

    verify_seconds: float = Field(default=300, ge=0)


class RetentionSettings(BaseSettings):
    """How long holds are kept that have ended: WALLETS_HOLDS_RETENTION_DAYS.

    Attributes:
        holds_retention_days: Longer than JOBS_RETENTION_DAYS: as long as there is a job, its hold can be looked up.
    """

    model_config = ENVIRONMENT

    holds_retention_days: PositiveFloat = 90
