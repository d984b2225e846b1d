"""Configurations of runs: what may stand in one, reading and writing it, and the objects that it names."""
