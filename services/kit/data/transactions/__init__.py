"""Transactions: ambient, repeated when they conflict."""
