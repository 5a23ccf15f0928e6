"""The columns of customers and of their API keys."""

from typing import Final

from tools.cli.output import Columns, age, field

CUSTOMERS: Final = Columns(
    (
        # Those of the examples differ only at their ends.
        field("id", usual=36, short=True),
        field("name", priority=1, cut=14),
        field("email", priority=2, cut=16),
        field("active", priority=1),
        age("created_at", priority=3),
        field("api_key_prefix", wide=True),
    )
)
API_KEYS: Final = Columns(
    (
        field("id", usual=36, short=True),
        field("name", priority=1, cut=14),
        field("scopes", priority=2, usual=12),
        field("prefix", priority=3, usual=12),
        age("created_at", priority=5),
        field("expires_at", "ends", priority=1, usual=7),
        field("last_used_at", "used", priority=4, usual=8),
    )
)
