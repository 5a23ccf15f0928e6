"""Settings of the wallets service."""

from services.kit.settings import ServerSettings


class WalletsServerSettings(ServerSettings):
    """The server: WALLETS_LISTEN_ADDRESS and so on."""

    listen_address: str = "127.0.0.1:50052"
