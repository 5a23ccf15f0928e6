"""The stored runners."""
