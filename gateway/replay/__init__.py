"""Sends captured requests again, and says how far the answers agree with those that were recorded."""
