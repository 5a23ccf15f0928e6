"""How locks are waited for where a transaction must not wait for one as long as the others do."""

from sqlalchemy import text

#: Has the open transaction give up a lock that is not to be had in a moment.
HURRY = text("SET LOCAL lock_timeout = '20ms'")
