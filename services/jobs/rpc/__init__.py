"""JobService and JobTypeService over gRPC."""
