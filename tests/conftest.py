"""What holds for every test."""

from hypothesis import settings

# A slow example is a slow machine, not a failure.
settings.register_profile("tensorgate", deadline=None)
settings.load_profile("tensorgate")
