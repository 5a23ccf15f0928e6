"""Messages to other services."""
