"""What developers and operators run; no service imports it."""
