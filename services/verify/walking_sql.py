"""How pages of a large table are read, whatever the planner believes of it."""

from sqlalchemy import text

# Right after a restore or a load there are no statistics, and in a prepared statement the planner does not see how wide
# a range is. It would then sort the whole rest of a table for each page, and the time would grow with the square.
WALK = text(
    """
    SELECT set_config('enable_sort', 'off', true), set_config('enable_seqscan', 'off', true),
        set_config('enable_bitmapscan', 'off', true)
    """
)
