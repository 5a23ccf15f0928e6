"""Connections to a database: pools, prepared statements, observation."""
