"""Code shared by the services and the runner: not a part of the SDK's public interface, and free of gRPC."""
