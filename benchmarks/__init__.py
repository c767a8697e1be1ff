"""Benchmarks: each prints a table and writes a JSON file with the facts of the machine."""
