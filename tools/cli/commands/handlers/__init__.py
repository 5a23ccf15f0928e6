"""`innosystem handlers`."""
