"""Benchmarks: what one machine does with Tocsin, beside what it does with the least that could do the same."""
