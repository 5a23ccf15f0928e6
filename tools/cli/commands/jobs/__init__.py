"""`innosystem jobs`."""
