"""Customers and API keys in PostgreSQL and, for tests, in memory."""
