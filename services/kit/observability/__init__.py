"""Logs, metrics and traces, and who called."""
