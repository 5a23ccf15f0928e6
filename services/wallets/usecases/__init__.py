"""What callers can do with wallets."""
