"""The measures P1 to P8, the curves, and what a long history costs."""
