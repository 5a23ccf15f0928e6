"""What happens to every call, one concern a file; `services.kit.rpc.layers.stack` puts them around each other."""
