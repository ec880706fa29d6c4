"""What became of predictions: labels that callers bring back, kept durably, and tallies of them."""
