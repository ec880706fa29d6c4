"""The protocols: each servicer converts, calls the core, converts."""
