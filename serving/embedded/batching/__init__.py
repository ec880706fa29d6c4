"""Requests that come together run together, by TensorFlow Serving's rules and parameters.

Read in this order: `parameters`, `batcher` (a request's way), `scheduler` (which batch runs next), `queue`
(batches that wait), `execution` (a batch on its thread). All but the last belong to one event loop.
"""
