"""WalletService over gRPC."""
