"""The client of tensorgate: generated stubs in `tensorgate.v1`, and what calls them."""
