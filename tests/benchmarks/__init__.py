"""Evaluations and benchmarks that need several packages: `./run eval ...` and `./run bench ...`."""
