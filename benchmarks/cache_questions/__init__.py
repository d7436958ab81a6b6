"""The questions of `benchmarks/cache.py`, one a file."""
