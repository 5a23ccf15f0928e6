"""What callers can do with jobs and job types."""
