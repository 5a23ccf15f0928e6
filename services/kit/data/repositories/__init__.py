"""Repositories that SQLAlchemy and memory implement alike."""
