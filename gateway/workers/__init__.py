"""Several processes that serve as one: a supervisor, and workers which share the ports."""
