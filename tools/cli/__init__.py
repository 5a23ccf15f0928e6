"""The `innosystem` command: a local stack, a demonstration, and an operator's tools."""
