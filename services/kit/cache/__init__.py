"""Caches in the process, of entities and query results, for a short time and never across a change (D7).

`cache.Cache` keeps values by key with a time limit and single flight, `invalidations.Invalidations` publishes changes
to the other processes, `statistics` and `metrics` show whether a cache pays. `strategy.Strategy` defines how a cache
behaves towards transactions.
"""
