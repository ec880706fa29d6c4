"""gRPC over HTTP/2 as an ASGI application: for a host that speaks HTTP/2 with trailers, such as Envoy."""
