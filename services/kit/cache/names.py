"""Names of caches that several services share: one service caches the entities that another service changes."""

from typing import Final

#: Customers in the jobs service, by ID. The customers service publishes the changes.
CUSTOMERS: Final = "jobs.customers"
#: API keys in each service, by the hexadecimal digest of the key. The customers service publishes the changes.
API_KEYS: Final = "api_keys"
