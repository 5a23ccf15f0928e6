"""Processes that make load."""
