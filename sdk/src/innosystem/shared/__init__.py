"""What the services and the runner share; no part of what the SDK offers its users, and free of gRPC."""
