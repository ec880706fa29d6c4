"""The data: where they come from, which are held out, and the tensors that the pipeline makes of them."""

from trainer.data.dataset import Dataset, split, tensors
from trainer.data.source import load

__all__ = ["Dataset", "load", "split", "tensors"]
