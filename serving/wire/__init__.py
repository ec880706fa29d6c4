"""TensorFlow Serving's protocol without TensorFlow: messages in a private descriptor pool, tensors as numpy arrays."""
