"""Planner settings for pages of a large table."""

from sqlalchemy import text

# Right after a restore or a load, statistics are missing. The planner then assumes that a range has few rows, and would
# read and sort the whole rest of a table for each page, so that the time would be quadratic.
WALK = text(
    """
    SELECT set_config('enable_sort', 'off', true), set_config('enable_seqscan', 'off', true),
        set_config('enable_bitmapscan', 'off', true)
    """
)
