"""Adapters to other services, Redis, caches and processes."""
