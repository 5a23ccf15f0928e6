"""The check of all books across the services' databases: `innosystem verify`."""
