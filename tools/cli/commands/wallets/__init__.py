"""`innosystem wallets`."""
