"""From a commit or a model version to what callers reach: built once, tried in staging, in production step by step."""
