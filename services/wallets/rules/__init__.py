"""Rules of the ledger, without transport and database."""
