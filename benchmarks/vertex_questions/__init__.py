"""The questions of `benchmarks/vertex.py`, one a file."""
