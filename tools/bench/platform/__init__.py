"""The platform under test, and what is read of it."""
