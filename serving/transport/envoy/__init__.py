"""The transport of Envoy: the process is Envoy, and the ASGI application runs inside it (PyPI: pyvoy)."""
