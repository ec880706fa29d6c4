"""A script for each peer, run by its own environment's Python.

BENCH_PORT is where it serves, BENCH_MODEL the directory of a SavedModel.

Each is what the peer's documentation shows, with its batching on where it has any, and workers for one core: the model
is loaded once.
"""
