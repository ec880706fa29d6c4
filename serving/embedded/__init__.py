"""A server of SavedModels that speaks TensorFlow Serving's gRPC and REST: `python -m serving.embedded --help`."""
