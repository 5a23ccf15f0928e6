"""What the data layer costs."""
