"""The demo: its input, its work, the check of its books; and the examples that `innosystem seed` creates."""
