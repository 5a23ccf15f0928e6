"""`innosystem job-types`."""
