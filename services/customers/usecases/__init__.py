"""What callers can do with customers and API keys."""
