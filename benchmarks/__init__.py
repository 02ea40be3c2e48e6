"""Timings of the numerical library, side by side with its peers; `python -m benchmarks` runs them all."""
