"""The questions of `benchmarks/pools.py`, one a file."""
