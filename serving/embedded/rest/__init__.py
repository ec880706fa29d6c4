"""TensorFlow Serving's REST API: JSON in, the gRPC services' own methods, JSON out."""
