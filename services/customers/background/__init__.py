"""What the customers service does beside its calls."""
