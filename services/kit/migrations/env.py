"""Alembic's environment for every command, on the connection of `Migrations`."""

from services.kit.migrations.environment import run_environment

run_environment()
