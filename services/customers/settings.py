"""Settings of the customers service."""

from services.kit.settings import ServerSettings


class CustomersServerSettings(ServerSettings):
    """The server: CUSTOMERS_LISTEN_ADDRESS and so on."""

    listen_address: str = "127.0.0.1:50051"
