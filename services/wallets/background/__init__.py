"""Work of the wallets service that no call asks for."""
