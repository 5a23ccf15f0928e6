"""The demonstration: its input, its work, its books."""
