"""CustomerService over gRPC."""
