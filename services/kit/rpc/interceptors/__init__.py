"""What happens to every call, one concern a file; `services.kit.rpc.layers` puts them around each other."""
