"""Settings of the jobs service."""

from pydantic import PositiveFloat
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.kit.settings import ServerSettings


class JobsServerSettings(ServerSettings):
    """The server: JOBS_LISTEN_ADDRESS and so on."""

    listen_address: str = "127.0.0.1:50053"


class CustomersClientSettings(BaseSettings):
    """How the customers service is reached: CUSTOMERS_ADDRESS, CUSTOMERS_DEADLINE_SECONDS."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True)

    address: str = "localhost:50051"
    deadline_seconds: PositiveFloat = 3
