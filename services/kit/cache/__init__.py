"""What was read is kept for a moment in the process: entities and query results, never across a change (D7).

`cache.Cache` keeps values by key with a time limit and single flight, `invalidations.Invalidations` tells the other
processes what has changed, `statistics` and `metrics` show whether a cache pays. `strategy.Strategy` says what a
transaction has to do about a cache.
"""
