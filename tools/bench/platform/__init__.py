"""The platform under test, and readers of its state."""
