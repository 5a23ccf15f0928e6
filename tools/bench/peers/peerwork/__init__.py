"""The workers and submitters that run in the peers' environment. They import nothing of the platform."""
