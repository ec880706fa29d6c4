"""What a user would pick instead: each peer in an environment of its own, on the same model and the same images."""
