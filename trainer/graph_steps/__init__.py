"""serving/preprocessing once more, as TensorFlow operations: for the signature that takes encoded images.

Modules and functions have the names of those that they follow, and refuse what those refuse. What they make of an image
is the same to the last bit, except that `flatten_background` may be off by one level, where a fitted surface falls
between two, and that decoders differ: see `decode`.
"""

from trainer.graph_steps.pipeline import BYTES_INPUT, BYTES_SIGNATURE, NoCounterpartError, build, replay_golden

__all__ = ["BYTES_INPUT", "BYTES_SIGNATURE", "NoCounterpartError", "build", "replay_golden"]
