"""What list RPCs ask for: filter, order and pages, once for SQL and for in-memory repositories.

A resource declares its fields once (`fields`). The filter of a request (`filter`, AIP-160), its
order (`order`, AIP-132) and its page (`page`, AIP-158) are turned into a `ListQuery` by
`listing.Listing`; business code may write the same specifications with the fields themselves:
`STATUS.is_(JobStatus.PENDING) & CREATED_AT.after(then)`. `sql` and `memory` carry a query out, and
give the same entities in the same order.

A null is never compared: each comparison with a null is false, `!=` as well, and NOT makes that
true. So `cost_cents != 5` finds the rows that have another cost, and `NOT cost_cents = 5` also
those that have none.
"""
