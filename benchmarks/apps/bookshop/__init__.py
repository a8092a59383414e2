"""A Django application with data, as large as many are: what `benchmarks/memory.py` has the servers serve."""
