"""What surrounds every call: one concern, one file."""
