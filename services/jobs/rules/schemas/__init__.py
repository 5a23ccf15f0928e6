"""JSON Schemas of job types: their limits, and the cost of a check."""
