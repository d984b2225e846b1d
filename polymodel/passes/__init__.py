"""Passes: each file takes a Graph or a Plan and returns a new one that means the same (or says what changes)."""
