"""Benchmarks: `make bench NAME=wake`; each sets itself up, prints a table and one JSON line last."""
