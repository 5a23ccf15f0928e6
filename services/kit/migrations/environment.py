"""The configuration of Alembic, for all services."""

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext

from services.kit.data.tables import JsonText
from services.kit.migrations.locking import TURNS


def run_environment() -> None:
    """Run the migrations on the given connection, or print their SQL without one.

    Each revision is a transaction of its own: it is applied as a whole or not at all, holds its locks only as long as
    it needs them, and may contain a step outside of transactions.
    """
    attributes = context.config.attributes
    options: dict[str, Any] = {
        "target_metadata": attributes["metadata"],
        "transaction_per_migration": True,
        "compare_type": True,
        "compare_server_default": True,
        "render_item": _render,
        "include_name": lambda name, kind, _: (kind, name) != ("table", TURNS),
    }
    if context.is_offline_mode():
        context.configure(dialect_name="postgresql", literal_binds=True, **options)
    else:
        context.configure(connection=attributes["connection"], **options)
    with context.begin_transaction():
        context.run_migrations()


def _render(kind: str, item: object, autogenerate: AutogenContext) -> str | Literal[False]:
    """Render the project's column type as its type in the database: migrations do not import the code of a release."""
    if kind == "type" and isinstance(item, JsonText):
        autogenerate.imports.add("from sqlalchemy.dialects import postgresql")
        return "postgresql.JSONB()"
    return False
