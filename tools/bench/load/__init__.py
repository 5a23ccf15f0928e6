"""Processes that generate load."""
