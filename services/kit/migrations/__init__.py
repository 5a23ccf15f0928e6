"""Migrations: one Alembic tree a service, run by the same code, environment and template (those beside this file).

`tree.Migrations` runs them, `startup.SchemaGate` looks at a service's start whether they were run, and revisions use
`in_batches` and `outside_transaction` of `steps` for what must not be one transaction. Nothing is imported here,
because services need no Alembic to run.
"""
