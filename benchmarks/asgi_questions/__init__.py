"""The questions `benchmarks/asgi.py` asks, one a file."""
