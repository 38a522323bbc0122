"""Benchmarks of the suite's own speed, as ratios on one machine in one run."""
