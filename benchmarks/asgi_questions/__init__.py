"""The questions of `benchmarks/asgi.py`, one a file."""
