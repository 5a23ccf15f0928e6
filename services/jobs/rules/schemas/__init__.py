"""JSON Schemas of job types: what they may contain, and what a check costs."""
