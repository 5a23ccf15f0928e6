"""Called by Alembic for every command; it runs on the connection that `Migrations` hands over."""

from services.kit.migrations.environment import run_environment

run_environment()
