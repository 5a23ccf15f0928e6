"""Migrations: an Alembic tree for each service, with a shared environment and template, which are beside this file.

`tree.Migrations` runs them, `startup.SchemaGate` checks at a service's start whether they were run, and revisions use
`in_batches` and `outside_transaction` of `steps` for work that must not be one transaction. This package imports
nothing, because services run without Alembic.
"""
