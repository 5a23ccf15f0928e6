"""`innosystem status`: what runs, what waits, and what is wrong."""
