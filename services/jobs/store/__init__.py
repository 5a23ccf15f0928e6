"""Jobs in PostgreSQL and, for tests, in memory."""
