"""Rules of customers and API keys, without transport and database."""
