"""The measures P1 to P8, the curves, and the cost of a long history."""
