"""Migrations: one Alembic tree a service, run by the same code, environment and template (those beside this file).

`Migrations` runs them, `SchemaGate` looks at a service's start whether they were run, and revisions use `in_batches`
and `outside_transaction` for the steps that must not be one transaction.
"""

from services.kit.migrations.startup import SchemaGate
from services.kit.migrations.steps import in_batches, outside_transaction
from services.kit.migrations.tree import Migrations

__all__ = ["Migrations", "SchemaGate", "in_batches", "outside_transaction"]
