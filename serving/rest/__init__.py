"""TensorFlow Serving's REST API as text: paths and JSON bodies to the gRPC services' messages, and answers to JSON."""
