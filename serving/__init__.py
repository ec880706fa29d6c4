"""Everything that serves: the shared kernel (contract, preprocessing, wire) and the embedded TensorFlow Serving."""
