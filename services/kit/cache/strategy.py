"""How a cache behaves towards the transactions that change its entities: Hibernate's strategies under their names.

| strategy | while a transaction changes a key | when the transaction has ended | what a reader may get |
| --- | --- | --- | --- |
| READ_ONLY | refused: such entries never change | refused | the value |
| NONSTRICT_READ_WRITE | served and loaded as usual | dropped | the old value until just after the commit |
| READ_WRITE | soft lock: dropped, read past the cache, nothing stored | unlocked, dropped | the database's value |

Each drop is published to the other processes, where a reader may get the old value until the message arrives.

For all strategies:

- A load in progress whose key is dropped serves the readers that waited for it and stores nothing: its value may be
  older than the change. Readers after the drop get a new load.
- A value is served for at most `ttl_seconds` after its load began. This bounds the age of a value in a process that
  missed the message about a change; usually the message arrives within milliseconds.
- Absence is not cached, so a creation is visible immediately.

A soft lock holds in its own process. It ends by itself after `lock_seconds`, which must exceed the duration of a
transaction: for transactions whose end is never reported.
"""

from enum import Enum


class Strategy(Enum):
    """How a cache behaves towards transactions; the module's docstring has the table."""

    READ_ONLY = "read-only"
    NONSTRICT_READ_WRITE = "nonstrict read-write"
    READ_WRITE = "read-write"
