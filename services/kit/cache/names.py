"""Names of caches that several services know: one holds what another one changes."""

from typing import Final

#: What the jobs service remembers of customers, by their IDs. The customers service tells what has changed.
CUSTOMERS: Final = "jobs.customers"
