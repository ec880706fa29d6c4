"""OpenTelemetry's traces of calls and their stages; imported only where the environment asks for them."""
