"""Example handlers, to try the platform and to learn from."""
