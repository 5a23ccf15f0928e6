"""The use of CPU time."""
