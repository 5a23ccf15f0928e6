"""The commands of `innosystem`, a module for each group."""
