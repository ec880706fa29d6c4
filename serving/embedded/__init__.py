"""A server of SavedModels that speaks TensorFlow Serving's gRPC protocol: `python -m serving.embedded --help`."""
