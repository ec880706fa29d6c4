"""The gateway: one gRPC door to the models behind it. Read a request's way from `servicers` through `predictor`."""
