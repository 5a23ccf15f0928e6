"""The tables of the customers database."""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    Uuid,
    event,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from services.customers.rules import constraints
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
    # Those that differ from the settings, as JSON of the contract's message.
    Column("limits", JSONB(none_as_null=True), nullable=True),
    bytes_column("request_digest", nullable=False),
    created_at(),
    updated_at(),
    Column("version", Integer, nullable=False, server_default=text("1")),
    CheckConstraint(
        "(previous_api_key_hash IS NULL) = (previous_api_key_expires_at IS NULL)",
        name="previous_api_key_expires",
    ),
)

# Email addresses are unique regardless of case, and include those of inactive customers.
Index(constraints.CUSTOMER_EMAIL, func.lower(customers.c.email), unique=True)
# The previous release looks up customers by either key, and writes only these columns.
Index("uq_customers_api_key_hash", customers.c.api_key_hash, unique=True)
Index("uq_customers_previous_api_key_hash", customers.c.previous_api_key_hash, unique=True)
# ListCustomers in its default order.
Index("ix_customers_created_at", customers.c.created_at, customers.c.id)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Uuid, primary_key=True),
    # Checked at the commit: the first key of a customer is stored before the customer, so that the trigger below finds
    # it and does not take the row for one of the previous release.
    Column("customer_id", Uuid, ForeignKey("customers.id", deferrable=True, initially="DEFERRED"), nullable=False),
    # Empty for a key that rotations replace.
    Column("name", Text(collation="C"), nullable=False, server_default=text("''")),
    Column("prefix", Text(collation="C"), nullable=False),
    bytes_column("hash", nullable=False),
    Column("may_read", Boolean, nullable=False, server_default=text("true")),
    Column("may_submit", Boolean, nullable=False, server_default=text("true")),
    Column("request_digest", LargeBinary, nullable=False, server_default=text(r"'\x'")),
    time_column("expires_at", nullable=True),
    time_column("last_used_at", nullable=True),
    created_at(),
    updated_at(),
    Column("version", Integer, nullable=False, server_default=text("1")),
)

# ResolveApiKey.
Index(constraints.API_KEY_HASH, api_keys.c.hash, unique=True)
# ListApiKeys in its default order.
Index("ix_api_keys_customer_id", api_keys.c.customer_id, api_keys.c.created_at, api_keys.c.id)

# During a rolling update, the previous release creates and replaces keys in the columns of `customers`. The trigger
# repeats its changes here: it inserts a new key into the table, and sets the expiry of the replaced key. Keys and
# expiries that the table already has stay unchanged, and so do the writes of this release to both places.
# The next release removes the trigger and those columns.
FOLLOW_NEIGHBOUR = (
    """
    CREATE FUNCTION follow_keys_of_customers() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'UPDATE' AND OLD.api_key_hash IS DISTINCT FROM NEW.api_key_hash THEN
            UPDATE api_keys SET expires_at = CASE WHEN NEW.previous_api_key_hash = OLD.api_key_hash
                    THEN NEW.previous_api_key_expires_at ELSE now() END,
                updated_at = now(), version = version + 1
            WHERE hash = OLD.api_key_hash AND expires_at IS NULL;
        END IF;
        IF NEW.api_key_hash IS NOT NULL THEN
            INSERT INTO api_keys (id, customer_id, prefix, hash)
            VALUES (gen_random_uuid(), NEW.id, NEW.api_key_prefix, NEW.api_key_hash)
            ON CONFLICT (hash) DO NOTHING;
        END IF;
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE TRIGGER customers_keys_followed AFTER INSERT OR UPDATE OF api_key_hash ON customers
    FOR EACH ROW EXECUTE FUNCTION follow_keys_of_customers()
    """,
)


def _follow_neighbour(_table: Table, connection: Connection, **_: object) -> None:
    for statement in FOLLOW_NEIGHBOUR:
        connection.execute(text(statement))


event.listen(customers, "after_create", _follow_neighbour)
