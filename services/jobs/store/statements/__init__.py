"""The SQL of jobs: set-based statements."""
