"""Comparisons side by side, in one run, as ratios: absolute figures are one machine's on one day."""
