"""What job types say about HTTP endpoints."""
