"""`innosystem submit`."""
