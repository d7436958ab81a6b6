"""What `benchmarks/soak.py` is made of: the work, the faults, and the books that must balance."""
