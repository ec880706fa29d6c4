"""A sample of the requests that were answered, kept for warm-up, regression tests, replay and load tests."""
