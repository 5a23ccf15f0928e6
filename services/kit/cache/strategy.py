"""How a cache and the transactions that change what it holds get along; Hibernate's strategies under their names.

| strategy | while a transaction changes a key | when it has ended, however | what a reader may get |
| --- | --- | --- | --- |
| READ_ONLY | refused: such entries never change | refused | the value |
| NONSTRICT_READ_WRITE | served and loaded as ever | dropped | the old value until just after the commit |
| READ_WRITE | soft lock: dropped, read past the cache, nothing put | unlocked, dropped | what the database has |

What is dropped is then told to the other processes, where a reader may get the old value until the message arrives.

For all of them:

- A load that was on its way when its key was dropped answers those who waited for it and puts nothing: what it read
  may be older than the change. Who asks after the drop gets a load of his own.
- A value is served no longer than `ttl_seconds` after its load began. This bounds how old a value can be in a process
  that did not hear of a change; usually it hears of it at once.
- What a load did not find is not kept, so a creation is seen at once.

A soft lock holds in its own process. It ends by itself after `lock_seconds`, which has to be longer than a transaction
can take: that is for transactions whose end nobody reports.
"""

from enum import Enum


class Strategy(Enum):
    """What a transaction has to do about a cache; the module's docstring has the table."""

    READ_ONLY = "read-only"
    NONSTRICT_READ_WRITE = "nonstrict read-write"
    READ_WRITE = "read-write"
