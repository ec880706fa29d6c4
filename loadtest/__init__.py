"""What tensorgate bears and what it costs."""
