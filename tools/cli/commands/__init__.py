"""The commands of `innosystem`, a module or a folder for each group."""
