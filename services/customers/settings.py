"""Settings of the customers service."""

from services.kit.settings import ServerSettings


class CustomersServerSettings(ServerSettings):
    """The settings of the server, such as CUSTOMERS_LISTEN_ADDRESS."""

    listen_address: str = "127.0.0.1:50051"
