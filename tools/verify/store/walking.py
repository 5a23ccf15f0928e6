"""How pages of a large table are read, whatever the planner believes of it."""

from sqlalchemy import text

# Right after a restore or a load there are no statistics. The planner then believes that a range holds few rows, and
# would read and sort the whole rest of a table for each page: the time would grow with the square.
WALK = text(
    """
    SELECT set_config('enable_sort', 'off', true), set_config('enable_seqscan', 'off', true),
        set_config('enable_bitmapscan', 'off', true)
    """
)
