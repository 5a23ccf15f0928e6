"""Handlers to try the platform with, and to learn from."""
