"""Background work of the jobs service."""
