"""The cost of the data layer."""
