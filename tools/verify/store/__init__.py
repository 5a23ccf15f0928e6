"""Reads and repairs the databases that are checked."""
