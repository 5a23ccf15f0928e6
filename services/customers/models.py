"""The tables of the customers database."""

from sqlalchemy import Boolean, CheckConstraint, Column, Index, Integer, Table, Text, Uuid, func, text

from services.kit.data.tables import audit_log, bytes_column, created_at, make_metadata, time_column, updated_at

metadata = make_metadata()

audit_log.to_metadata(metadata)

customers = Table(
    "customers",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", Text(collation="C"), nullable=False),
    Column("email", Text(collation="C"), nullable=False),
    Column("api_key_prefix", Text, nullable=False, server_default=text("''")),
    bytes_column("api_key_hash", nullable=True),
    bytes_column("previous_api_key_hash", nullable=True),
    time_column("previous_api_key_expires_at", nullable=True),
    Column("active", Boolean, nullable=False, server_default=text("true")),
    bytes_column("request_digest", nullable=False),
    created_at(),
    updated_at(),
    Column("version", Integer, nullable=False, server_default=text("1")),
    CheckConstraint(
        "(previous_api_key_hash IS NULL) = (previous_api_key_expires_at IS NULL)",
        name="previous_api_key_expires",
    ),
)

# Email addresses are unique whatever their case, also those of inactive customers.
Index("uq_customers_email", func.lower(customers.c.email), unique=True)
# ResolveApiKey looks customers up by either key.
Index("uq_customers_api_key_hash", customers.c.api_key_hash, unique=True)
Index("uq_customers_previous_api_key_hash", customers.c.previous_api_key_hash, unique=True)
# ListCustomers in its default order.
Index("ix_customers_created_at", customers.c.created_at, customers.c.id)
