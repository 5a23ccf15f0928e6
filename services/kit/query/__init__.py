"""The queries of list RPCs: filter, order and pages, once for SQL and for in-memory repositories.

A resource declares its fields once (`fields`). `listing.Listing` turns the filter of a request
(`filter`, AIP-160), its order (`order`, AIP-132) and its page (`page`, AIP-158) into a `ListQuery`;
business code can compose the same specifications from the fields themselves:
`STATUS.is_(JobStatus.PENDING) & CREATED_AT.after(then)`. `memory` and
`services.kit.data.repositories.query_sql` carry a query out, and return the same entities in the
same order.

Every comparison with a null is false, including `!=`, and NOT turns that into true. So
`cost_cents != 5` finds the rows with another cost, and `NOT cost_cents = 5` also finds those
without a cost.
"""
