"""A gRPC server: processes, health, reflection, and an orderly end."""
