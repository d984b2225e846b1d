"""Benchmarks: steps against hand-written native loops, and input from records against input from memory."""
