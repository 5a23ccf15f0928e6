"""What jobs cost: prices by usage, and quotes."""
