"""Charge tokens and receipts: what the jobs and wallets services tell one another through runners they do not trust."""
