"""Where the CPU goes."""
