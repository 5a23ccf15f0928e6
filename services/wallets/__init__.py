"""The wallets service: the ledger. It calls no other service."""
