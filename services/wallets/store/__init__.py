"""Wallets and the ledger in PostgreSQL and, for tests, in memory."""
