"""HTTP and JSON for those who do not speak gRPC: another way to the same servicers, through the same interceptors."""
