"""Repositories on SQLAlchemy and in memory, with the same behaviour."""
