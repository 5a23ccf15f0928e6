"""`innosystem customers`."""
